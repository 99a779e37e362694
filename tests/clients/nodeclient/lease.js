"use strict";

const { Events, once, within } = require("./probe");

async function lease(p) {
  const granted = p.client.lease(60);
  const id = await granted.grant();
  await granted.put("a").value("1");
  await granted.put("b").value("1");
  p.range("a", await p.client.get("a").exec());
  const told = await p.client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  p.say("keys", told.keys.map(String).sort(), told.grantedTTL, told.ID === id, Number(told.TTL) > 45);
  p.say("keep-alive", (await granted.keepaliveOnce()).TTL);
  const before = p.client.watch().prefix("").withPreviousKV().watcher();
  await once(before, "connected");
  const events = new Events(p, before);
  await granted.revoke();
  await events.take("revoked", 2);
  p.range("after", await p.client.getAll().exec());
  const gone = await p.client.leaseClient.leaseTimeToLive({ ID: id });
  p.say("gone", gone.TTL, gone.grantedTTL);
  await p.fails("revoke again", p.client.leaseClient.leaseRevoke({ ID: id }));
  await p.client.leaseClient.leaseGrant({ ID: 4242, TTL: 60 });
  await p.fails("the same id", p.client.leaseClient.leaseGrant({ ID: 4242, TTL: 60 }));
  await p.client.leaseClient.leaseRevoke({ ID: 4242 });
}

async function kept(p) {
  // Three seconds of TTL are outlived only because the client keeps the lease alive by itself.
  const granted = p.client.lease(3);
  await granted.put("kept").value("1");
  const left = p.client.lease(3, { autoKeepAlive: false });
  await left.put("left").value("1");
  const watcher = await p.client.watch().prefix("").create();
  const events = new Events(p, watcher);
  for (let count = 0; count < 5; count++) {
    const answer = await once(granted, "keepaliveSucceeded");
    p.say("keep-alive", answer.TTL);
  }
  await events.take("expired", 1);
  p.say("alive", await p.client.getAll().keys());
  await granted.revoke();
  await events.take("revoked", 1);
}

async function lost(p) {
  const granted = p.client.lease(30);
  const id = await granted.grant();
  await once(granted, "keepaliveSucceeded");
  await p.client.leaseClient.leaseRevoke({ ID: id });
  const gone = once(granted, "lost");
  const put = p.fails("put", granted.put("a").value("1").exec());
  p.say("lost", (await gone).constructor.name, granted.revoked());
  await put;
  await p.fails("keep-alive", granted.keepaliveOnce());
}

async function lock(p) {
  const held = p.client.lock("lock").ttl(30);
  await held.acquire();
  p.range("held", await p.client.get("lock").exec());
  await p.fails("second", p.client.lock("lock").acquire());
  await held.release();
  p.say("released", await p.client.get("lock").exists());
  p.say("do", await p.client.lock("lock").do(() => "done"));
}

async function election(p) {
  const vote = p.client.election("vote", 30);
  const observer = await vote.observe();
  const changes = [];
  let wake = () => {};
  observer.on("change", (value) => {
    changes.push(value);
    wake();
  });
  const until = async (value) => {
    while (changes.at(-1) !== value) await within(new Promise((resolve) => (wake = resolve)), value);
  };
  const first = vote.campaign("first");
  await first.wait();
  await until("first");
  const second = vote.campaign("second");
  await once(second, "_isWaiting");
  const third = vote.campaign("third");
  await once(third, "_isWaiting");
  p.say("leader", await vote.leader());
  await first.proclaim("first again");
  await until("first again");
  const elected = second.wait();
  await first.resign();
  await elected;
  await until("second");
  p.say("leader", await vote.leader());
  await p.fails("proclaim after resigning", first.proclaim("no"));
  const last = third.wait();
  await second.resign();
  await last;
  await until("third");
  await third.resign();
  await within(observer.cancel(), "the end of the observer");
  p.say("leader", await vote.leader());
}

async function services(p) {
  const { client } = p;
  const status = await client.maintenance.status();
  p.say("status", status.leader === status.header.member_id, Number(status.dbSize) > 0);
  const { members } = await client.cluster.memberList({});
  p.say("members", members.length, members[0].name, members[0].clientURLs.length);
}

module.exports = {
  lease, "lease kept": kept, "lease lost": lost, lock, election, services,
};
