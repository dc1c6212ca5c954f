// The examples of tests/data/corrections, which pytest reads as well; and how fast operations are on a long transcript.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { replayed, type Case, type Outcome } from "../src/conformance.ts";
import { History } from "../src/history.ts";
import type { State } from "../src/state.ts";

const folder = new URL("../../../tests/data/corrections/", import.meta.url);

for (const name of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  for (const example of JSON.parse(readFileSync(new URL(name, folder), "utf8")) as (Case & Outcome)[]) {
    test(`${name}: ${example.title}`, () => {
      const { problems, conflicts, expected } = example;
      assert.deepEqual(JSON.parse(JSON.stringify(replayed(example))), { problems, conflicts, expected });
    });
  }
}

export function longState(words: number): State {
  const list = Array.from({ length: words }, (_, i) => ({
    id: `w${i * 360}`, start: i * 360, end: i * 360 + 300, text: "word", speaker: `S${Math.floor(i / 20) % 4}`,
    probability: 0.9, human: [],
  }));
  const turns = Array.from({ length: words / 20 }, (_, i) => ({
    id: `t${i * 7200}`, start: i * 7200, end: i * 7200 + 7000, speaker: `S${i % 4}`, human: false, checked: false,
    confidence: null,
  }));
  const speakers = ["S0", "S1", "S2", "S3"].map((id) => ({ id, name: null, human: false }));
  return { duration: words * 360, speakers, turns, words: list, notes: [] };
}

test("1,000 operations on 100,000 words, and as many taken back, need seconds and not minutes", () => {
  const history = new History(longState(100_000));
  const entry = (operation: { op: string; [key: string]: unknown }) =>
    history.append({ number: history.length + 1, time: "", author: "a", operation, problem: "", undone: false });
  const began = performance.now();
  for (let i = 0; i < 1000; i++) {
    const start = i * 36_000;
    if (i % 2) entry({ op: "assign", start, end: start + 3000, from: `S${(i * 5) % 4}`, to: `S${(i * 5 + 1) % 4}` });
    else entry({ op: "edit_word", word: `w${start}`, text: "changed" });
  }
  for (let number = 1000; number > 0; number--) entry({ op: "undo", number });
  const seconds = (performance.now() - began) / 1000;
  assert.deepEqual(history.draft.freeze().words, longState(100_000).words);
  assert.ok(seconds < 30, `${seconds} s`);
  console.log(`  ${(seconds * 1000 / 2000).toFixed(2)} ms an operation`);
});
