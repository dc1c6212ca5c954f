// node replay.mjs FILE: the outcomes of the lists of operations in FILE, as JSON. tests/corrections/test_conformance.py
// compares them with Python's.

import { readFileSync } from "node:fs";
import { replayed, type Case } from "../src/conformance.ts";

const cases = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Case[];
process.stdout.write(JSON.stringify(cases.map(replayed)));
