// Watches, a lease and calls of one client go on over a restart of the server.
//
// Prints `restart` when the server has to be restarted on its port; a line on the standard input
// says that it was.

"use strict";

const { Etcd3 } = require("etcd3");
const { Events, once, options, within } = require("./probe");

const probe = { kv: (kv) => (kv ? `${kv.key}=${kv.value} version ${kv.version}` : "none"), say: console.log };

/** Call until it succeeds, as an application does. */
async function eventually(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      console.error(error.message);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function main() {
  const client = new Etcd3(options(process.argv[2]));
  const lease = client.lease(60);
  await lease.put("leased").value("1");
  const watchers = [await client.watch().prefix("w/").create(), await client.watch().key("w/1").create()];
  const events = watchers.map((watcher) => new Events(probe, watcher));
  await client.put("w/1").value("before");
  for (const each of events) await each.take("event", 1);

  for (let round = 1; round <= 2; round++) {
    const disconnected = watchers.map((watcher) => once(watcher, "disconnected"));
    const connected = watchers.map((watcher) => once(watcher, "connected"));
    console.log("restart");
    await once(process.stdin, "data");
    await Promise.all(disconnected);
    await within(eventually(() => client.put("w/1").value(`after ${round}`)), "a put");
    await Promise.all(connected);
    await within(eventually(() => client.put("w/2").value(`after ${round}`)), "a put");
    await events[0].take("event", 2);
    await events[1].take("event", 1);
    console.log("leased", await client.get("leased").string());
  }
  const kept = await eventually(() => lease.keepaliveOnce());
  console.log("lease", kept.TTL, lease.revoked());
  await lease.revoke();
  console.log("leased", await client.get("leased").string());
}

within(main(), "the end").then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
