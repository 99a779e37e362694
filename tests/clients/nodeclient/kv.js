"use strict";

async function put(p) {
  const first = await p.client.put("a").value("1").exec();
  p.say("first", p.rel(first.header.revision), p.kv(first.prev_kv));
  p.say("previous", p.kv(await p.client.put("a").value("2").getPrevious()));
  await p.client.put("empty").value("");
  await p.client.put("ключ").value("значение");
  await p.client.put(Buffer.from([0, 255, 10])).value(Buffer.from([255, 0, 13]));
  p.say("text", await p.client.get("ключ").string(), await p.client.get("empty").string());
  p.say("bytes", (await p.client.get(Buffer.from([0, 255, 10])).buffer()).toString("hex"));
  const touched = await p.client.put("a").touch();
  p.say("touched", p.rel(touched.header.revision));
  p.range("a", await p.client.get("a").exec());
  await p.fails("touch a missing key", p.client.put("missing").touch());
  await p.fails("no key", p.client.put("").value("1").exec());
  await p.fails("no such lease", p.client.put("a").value("1").lease("1234").exec());
}

async function get(p) {
  for (const key of ["p/b", "p/a", "p/c", "q"]) await p.client.put(key).value(key);
  await p.client.put("p/a").value("again");
  p.say("missing", await p.client.get("missing").string(), await p.client.get("missing").exists());
  p.say("exists", await p.client.get("q").exists());
  p.range("prefix", await p.client.getAll().prefix("p/").exec());
  p.range("limit", await p.client.getAll().prefix("p/").limit(2).exec());
  p.range("from", await p.client.getAll().inRange({ start: "p/b", end: "q" }).exec());
  p.say("count", await p.client.getAll().prefix("p/").count());
  p.say("keys", await p.client.getAll().keys());
  p.say("strings", JSON.stringify(await p.client.getAll().prefix("p/").strings()));
  for (const target of ["Key", "Version", "Create", "Mod", "Value"]) {
    for (const order of ["Ascend", "Descend"]) {
      p.say(target, order, await p.client.getAll().prefix("p/").sort(target, order).limit(3).keys());
    }
  }
  p.range("old", await p.client.getAll().prefix("p/").revision(p.at(2)).exec());
  p.range("serializable", await p.client.get("q").serializable(true).exec());
  p.range("created since", await p.client.getAll().all().minCreateRevision(p.at(2)).exec());
  p.range("modified until", await p.client.getAll().all().maxModRevision(p.at(3)).exec());
  await p.fails("future", p.client.get("q").revision(p.at(1000)).exec());
  await p.client.kv.compact({ revision: p.at(4) });
  await p.fails("compacted", p.client.get("q").revision(p.at(2)).exec());
  await p.fails("compact again", p.client.kv.compact({ revision: p.at(4) }));
}

async function remove(p) {
  for (const key of ["a", "p/1", "p/2", "q"]) await p.client.put(key).value(key);
  const none = await p.client.delete().key("missing").exec();
  p.say("missing", none.deleted, p.rel(none.header.revision));
  for (const kv of await p.client.delete().prefix("p/").getPrevious()) p.say("prefix", p.kv(kv));
  const rest = await p.client.delete().inRange({ start: "a", end: "z" }).exec();
  p.say("rest", rest.deleted, p.rel(rest.header.revision), rest.prev_kvs.length);
}

async function txn(p) {
  const { client } = p;
  await client.put("a").value("1");
  await client.put("a").value("2");
  const compares = [
    ["Value", "==", "2"], ["Value", "!=", "2"], ["Value", ">", "1"], ["Value", "<", "1"],
    ["Version", "==", 2], ["Version", ">", 2], ["Create", "==", p.at(1)], ["Create", "<", p.at(1)],
    ["Mod", "==", p.at(2)], ["Mod", "!=", p.at(2)], ["Lease", "==", 0],
  ];
  for (const [column, operator, value] of compares) {
    const answer = await client.if("a", column, operator, value).commit();
    p.say(column, operator, answer.succeeded, p.rel(answer.header.revision));
  }
  for (const version of [2, 3]) {
    const answer = await client
      .if("a", "Version", "==", version)
      .and("missing", "Create", "==", 0)
      .then(client.put("then").value("1"), client.get("a"), client.delete().key("b"))
      .else(client.get("then"), client.put("else").value("1"))
      .commit();
    p.say("branch", answer.succeeded, p.rel(answer.header.revision));
    for (const response of answer.responses) {
      const [kind] = Object.keys(response).filter((field) => field.startsWith("response_"));
      const { deleted, kvs, header } = response[kind];
      p.say("branch", kind, deleted, kvs && kvs.map((kv) => p.kv(kv)), p.rel(header.revision));
    }
  }
  p.range("after", await client.getAll().exec());
  const twice = client.if("a", "Version", ">", 0).then(client.put("x").value("1"), client.put("x").value("2"));
  await p.fails("the same key twice", twice.commit());
}

async function transactional(p) {
  await p.client.put("counter").value(0);
  const add = () =>
    p.client.stm({ retries: 100 }).transact(async (tx) => {
      await tx.put("counter").value((await tx.get("counter").number()) + 1);
    });
  await Promise.all(Array.from({ length: 10 }, add));
  p.range("counter", await p.client.get("counter").exec());
}

async function large(p) {
  const value = Buffer.alloc(1500000, "0123456789");
  const { header } = await p.client.put("large").value(value).exec();
  p.say("put", p.rel(header.revision), (await p.client.get("large").buffer()).equals(value));
  const inside = Buffer.alloc(1024 * 1024, "x");
  for (const key of ["m/1", "m/2", "m/3"]) await p.client.put(key).value(inside);
  p.say("3 MiB", Object.values(await p.client.getAll().prefix("m/").buffers()).map((each) => each.length));
  await p.fails("too large", p.client.put("a").value(Buffer.alloc(3 * 1024 * 1024)).exec());
  p.range("small after large", await p.client.get("a").exec());
  const { header: end } = await p.client.put("a").value("1").exec();
  p.say("after", p.rel(end.revision));
}

async function concurrent(p) {
  const numbers = Array.from({ length: 100 }, (_, number) => `c/${String(number).padStart(2, "0")}`);
  const answers = await Promise.all(numbers.map((key) => p.client.put(key).value(key).exec()));
  const revisions = answers.map((answer) => Number(BigInt(answer.header.revision) - p.base));
  p.say("revisions", revisions.sort((a, b) => a - b));
  const values = await Promise.all(numbers.map((key) => p.client.get(key).string()));
  p.say("values", values);
  const mixed = numbers.map((key, number) =>
    number % 3 === 0
      ? p.client.delete().key(key).exec().then((answer) => answer.deleted)
      : p.client.getAll().prefix("c/").limit(1).exec().then((answer) => answer.kvs.length));
  p.say("mixed", await Promise.all(mixed));
  p.say("left", await p.client.getAll().prefix("c/").count());
}

async function deadline(p) {
  await p.fails("past deadline", p.client.get("a").options({ deadline: Date.now() - 1000 }).exec());
  p.range("after", await p.client.get("a").exec());
}

async function namespaces(p) {
  const inside = p.client.namespace("ns/");
  await inside.put("a").value("1");
  await p.client.put("a").value("2");
  p.say("inside", JSON.stringify(await inside.getAll().strings()));
  p.say("outside", JSON.stringify(await p.client.getAll().strings()));
}

module.exports = { put, get, delete: remove, txn, stm: transactional, large, concurrent, deadline, namespaces };
