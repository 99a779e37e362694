"use strict";

const { Events, once, within } = require("./probe");

async function history(p) {
  await p.client.put("a").value("1");
  await p.client.put("p/1").value("x");
  await p.client.put("a").value("2");
  await p.client.delete().key("a");
  const { client } = p;
  await client.if("a", "Create", "==", 0)
    .then(client.put("p/2").value("y"), client.delete().key("p/1"), client.put("a").value("3"))
    .commit();
}

async function live(p) {
  const one = await p.client.watch().key("a").create();
  const all = await p.client.watch().prefix("").withPreviousKV().create();
  const events = [new Events(p, one), new Events(p, all)];
  await history(p);
  await events[0].take("one", 4);
  await events[1].take("all", 7);
  await one.cancel();
  await all.cancel();
}

async function past(p) {
  await history(p);
  for (let from = 1; from <= 5; from++) {
    const watcher = p.client.watch().prefix("").withPreviousKV().startRevision(p.at(from)).watcher();
    const events = new Events(p, watcher);
    await once(watcher, "connected");
    await events.take(`from +${from}`, [7, 6, 5, 4, 3][from - 1]);
    await watcher.cancel();
  }
}

async function filters(p) {
  const puts = await p.client.watch().prefix("").only("put").create();
  const deletes = await p.client.watch().prefix("").only("delete").withPreviousKV().create();
  const events = [new Events(p, puts), new Events(p, deletes)];
  await history(p);
  await events[0].take("puts", 5);
  await events[1].take("deletes", 2);
}

async function cancel(p) {
  const kept = await p.client.watch().key("a").create();
  const canceled = await p.client.watch().key("a").create();
  const events = [new Events(p, kept), new Events(p, canceled)];
  await p.client.put("a").value("1");
  await events[0].take("kept", 1);
  await events[1].take("canceled", 1);
  await within(canceled.cancel(), "the end of the watch");
  await p.client.put("a").value("2");
  await events[0].take("kept", 1);
  p.say("canceled", events[1].lines.length);
  await within(kept.cancel(), "the end of the watch");
  const again = await p.client.watch().key("a").create();
  const last = new Events(p, again);
  await p.client.put("a").value("3");
  await last.take("again", 1);
  p.say("kept", events[0].lines.length);
}

async function compacted(p) {
  await history(p);
  await p.client.kv.compact({ revision: p.at(4) });
  const watcher = p.client.watch().key("a").startRevision(p.at(1)).watcher();
  const error = await once(watcher, "error");
  p.say("error", error.constructor.name, error.message);
  const at = p.client.watch().key("a").startRevision(p.at(4)).watcher();
  const events = new Events(p, at);
  await events.take("at the compacted revision", 2);
}

async function many(p) {
  const watchers = await Promise.all(
    Array.from({ length: 50 }, (_, number) => p.client.watch().key(`k${number}`).create()));
  p.say("ids", new Set(watchers.map((watcher) => watcher.id)).size);
  const events = watchers.map((watcher) => new Events(p, watcher));
  for (let number = 0; number < 50; number++) await p.client.put(`k${number}`).value(number);
  for (const [number, each] of events.entries()) await each.take(number, 1);
  await within(Promise.all(watchers.map((watcher) => watcher.cancel())), "the end of all watches");
}

async function large(p) {
  const value = Buffer.alloc(600000, "x");
  for (let number = 0; number < 5; number++) await p.client.put(`big${number}`).value(value);
  const watcher = p.client.watch().prefix("big").startRevision(p.at(1)).watcher();
  await new Events(p, watcher).take("past", 5);
}

module.exports = {
  "watch live": live, "watch past": past, "watch filters": filters, "watch cancel": cancel,
  "watch compacted": compacted, "watch many": many, "watch large": large,
};
