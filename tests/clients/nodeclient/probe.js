// What every check works with: a client of one server, and observations printed one a line.
//
// Two servers that behave alike print the same lines: ids and times are never printed, and
// revisions are printed relative to the one at which the check began.

"use strict";

const { readFileSync } = require("fs");

// The libraries are installed outside of the sources; NODE_PATH says where.
const { Etcd3 } = require("etcd3");

const DEADLINE_MS = 15000;

class Probe {
  constructor(client, name, base) {
    this.client = client;
    this.name = name;
    this.base = BigInt(base);
  }

  say(...words) {
    console.log(`${this.name}: ${words.join(" ")}`);
  }

  rel(revision) {
    return revision === "0" ? "0" : `+${BigInt(revision) - this.base}`;
  }

  at(offset) {
    return String(this.base + BigInt(offset));
  }

  kv(kv) {
    if (!kv) return "none";
    const value = kv.value.length > 60 ? `${kv.value.length} bytes` : JSON.stringify(kv.value.toString());
    const revisions = `create ${this.rel(kv.create_revision)} mod ${this.rel(kv.mod_revision)}`;
    return `${kv.key}=${value} ${revisions} version ${kv.version} lease ${kv.lease !== "0"}`;
  }

  range(label, response) {
    this.say(label, `at ${this.rel(response.header.revision)} count ${response.count} more ${response.more}`);
    for (const kv of response.kvs) this.say(label, this.kv(kv));
  }

  /** The class and text of the error that a call has to end with. */
  async fails(label, promise) {
    try {
      await promise;
      this.say(label, "did not fail");
    } catch (error) {
      this.say(label, error.constructor.name, error.message.replace(/\d{10,}/g, "ID"));
    }
  }
}

/** The events of a watcher in their order, as lines; `take` waits for the next ones. */
class Events {
  constructor(probe, watcher) {
    this.probe = probe;
    this.lines = [];
    this.wake = () => {};
    watcher.on("data", (response) => {
      for (const event of response.events) {
        this.lines.push(`${event.type} ${probe.kv(event.kv)} previous ${probe.kv(event.prev_kv)}`);
      }
      this.wake();
    });
  }

  async take(label, count) {
    while (this.lines.length < count) {
      await within(new Promise((resolve) => (this.wake = resolve)), `${label}: an event`);
    }
    for (const line of this.lines.splice(0, count)) this.probe.say(label, line);
  }
}

function once(emitter, event) {
  return within(new Promise((resolve) => emitter.once(event, resolve)), event);
}

/** The outcome of a promise, or an error when there is none in time. */
function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come in time`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The client's own policies retry and refuse by the clock; the checks see every failure instead.
const plainly = { execute: async (call) => call({}) };

/** How to reach the server: TLS when the environment names the files. */
function options(target) {
  const faultHandling = { host: () => plainly, global: plainly };
  const { CACERT, CERT, KEY } = process.env;
  if (!CACERT) return { hosts: target, faultHandling };
  const read = (path) => (path ? readFileSync(path) : undefined);
  const credentials = { rootCertificate: read(CACERT), certChain: read(CERT), privateKey: read(KEY) };
  return { hosts: `https://${target}`, credentials, faultHandling };
}

/** Run the checks one after the other, each in an empty keyspace; false when one stopped. */
async function runChecks(target, checks) {
  let passed = true;
  for (const [name, check] of Object.entries(checks)) {
    const client = new Etcd3(options(target));
    try {
      const cleared = await client.delete().all();
      await check(new Probe(client, name, cleared.header.revision));
    } catch (error) {
      console.error(error);
      console.log(`${name}: STOPPED ${error.message}`);
      passed = false;
    }
    client.close();
  }
  return passed;
}

module.exports = { Events, once, options, runChecks, within };
