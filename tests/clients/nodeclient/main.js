// Drives one server through the Node client `etcd3` and prints one line per observation.

"use strict";

const { runChecks } = require("./probe");

const checks = { ...require("./kv"), ...require("./watch"), ...require("./lease") };

runChecks(process.argv[2], checks).then((passed) => process.exit(passed ? 0 : 1));
