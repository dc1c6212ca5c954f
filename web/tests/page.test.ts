// Parts of the page that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { give, moveEdge, nextSpeaker, rewrite, spanOf } from "../src/changes.ts";
import { DoesNotFit, type Operation } from "../src/check.ts";
import { contrast, initials, look } from "../src/colours.ts";
import { History, type Entry } from "../src/history.ts";
import { binding, isTyping, KEYS, type Pressed } from "../src/keys.ts";
import { apply } from "../src/operations.ts";
import { Saving, type Transport } from "../src/saving.ts";
import { find, replaceFolded } from "../src/search.ts";
import type { State, Word } from "../src/state.ts";
import { clock } from "../src/text.ts";
import { overlaps, rowsOf } from "../src/utterances.ts";
import { Peaks } from "../src/timeline/peaks.ts";
import { paint, partOf } from "../src/timeline/spectrogram.ts";
import { Heights } from "../src/virtual.ts";

const word = (start: number, end: number, text: string, speaker: string | null): Word => ({
  id: `w${start}`, start, end, text, speaker, probability: 0.9, human: [],
});
const turn = (start: number, end: number, speaker: string) => ({
  id: `t${start}`, start, end, speaker, human: false, checked: false, confidence: null,
});
const STATE: State = {
  duration: 20_000,
  speakers: [{ id: "SPEAKER_01", name: null, human: false }, { id: "SPEAKER_02", name: "Bea", human: false }],
  turns: [turn(900, 4100, "SPEAKER_01"), turn(4100, 8000, "SPEAKER_02"), turn(12_000, 12_600, "SPEAKER_01")],
  words: [
    word(1000, 2000, "one", "SPEAKER_01"), word(2000, 3000, "two", "SPEAKER_01"), word(3200, 4000, "three", "SPEAKER_01"),
    word(4200, 5000, "four", "SPEAKER_02"), word(5000, 6000, "five", "SPEAKER_02"), word(15_000, 15_500, "hm", null),
  ],
  notes: [],
};
const row = (i: number) => rowsOf(STATE)[i]!;

test("rows: blocks of words, and turns without words", () => {
  assert.deepEqual(rowsOf(STATE).map(({ speaker, words, start }) => [speaker, words.map((one) => one.text).join(" "), start]), [
    ["SPEAKER_01", "one two three", 1000], ["SPEAKER_02", "four five", 4200], ["SPEAKER_01", "", 12_000], [null, "hm", 15_000],
  ]);
});

test("a whole row is given with its turn, a part up to half-way to the next word", () => {
  assert.deepEqual(spanOf(STATE, row(0)), { start: 900, end: 4100 });
  assert.deepEqual(spanOf(STATE, row(0), 1, 1), { start: 2000, end: 3100 });
  assert.deepEqual(spanOf(STATE, row(0), 2, 2), { start: 3100, end: 4100 });
  const state = apply(STATE, give(STATE, row(0), "SPEAKER_02"), 1);
  assert.deepEqual(state.turns.map((one) => [one.start, one.end, one.speaker]), [[900, 8000, "SPEAKER_02"], [12_000, 12_600, "SPEAKER_01"]]);
});

test("words are written anew: what is the same keeps its word", () => {
  const [one, two, three] = STATE.words as [Word, Word, Word];
  const texts = (operations: Operation[]) => {
    const state = operations.length ? apply(STATE, { op: "group", operations }, 5) : STATE;
    return state.words.filter((item) => item.speaker === "SPEAKER_01").map(({ text, start, end, id }) => `${id} ${start}-${end} ${text}`);
  };
  assert.deepEqual(rewrite([one, two, three], "one two three"), []);
  assert.deepEqual(rewrite([one, two, three], "one too three"), [{ op: "edit_word", word: "w2000", text: "too" }]);
  assert.deepEqual(texts(rewrite([two], "t oo")), ["w1000 1000-2000 one", "w2000 2000-2500 t", "w@5 2500-3000 oo", "w3200 3200-4000 three"]);
  assert.deepEqual(texts(rewrite([one, two], "onetwo")), ["w1000 1000-3000 onetwo", "w3200 3200-4000 three"]);
  assert.deepEqual(texts(rewrite([one, two, three], "one three")), ["w1000 1000-2000 one", "w3200 3200-4000 three"]);
  assert.deepEqual(texts(rewrite([two, three], "two and three")), ["w1000 1000-2000 one", "w2000 2000-3000 two", "w@5 3000-3200 and", "w3200 3200-4000 three"]);
  assert.deepEqual(texts(rewrite([two], "")), ["w1000 1000-2000 one", "w3200 3200-4000 three"]);
});

test("a boundary that is dragged gives words to the neighbour; with Alt it moves alone", () => {
  const first = STATE.turns[0]!;
  assert.deepEqual(moveEdge(STATE, first, "end", 3100, false), { op: "assign", start: 3100, end: 4100, from: "SPEAKER_01", to: "SPEAKER_02" });
  assert.deepEqual(moveEdge(STATE, first, "end", 5000, false), { op: "assign", start: 4100, end: 5000, from: "SPEAKER_02", to: "SPEAKER_01" });
  assert.deepEqual(moveEdge(STATE, first, "end", 3100, true), { op: "set_turn", turn: "t900", start: 900, end: 3100 });
  assert.deepEqual(moveEdge(STATE, first, "start", 500, false), { op: "set_turn", turn: "t900", start: 500, end: 4100 });
});

test("small things", () => {
  assert.equal(nextSpeaker(STATE), "SPEAKER_03");
  assert.deepEqual([clock(0), clock(61_950, true), clock(3_661_000)], ["0:00", "1:01.9", "1:01:01"]);
  assert.deepEqual([initials("SPEAKER_07", null), initials("x", "Anna Maria"), initials("x", "!"), initials("x", "שלום")], ["7", "AM", "?", "ש"]);
  assert.deepEqual(overlaps([turn(0, 1000, "a"), turn(700, 2000, "b"), turn(1900, 3000, "a")]), [[700, 1000]]);
  const looks = Array.from({ length: 32 }, (_, i) => look(i));
  assert.equal(new Set(looks.map((one) => one.colour + one.pattern)).size, 32);
  for (const { colour, ink } of looks) assert.ok(contrast(colour, ink) >= 4.5, colour);
});

test("search: over words, of any case", () => {
  assert.deepEqual(find(STATE.words, "two thr"), [[1, 2]]);
  assert.deepEqual(find(STATE.words, "o"), [[0, 0], [1, 1], [3, 3]]);
  assert.deepEqual(find(STATE.words, "nine"), []);
  assert.equal(replaceFolded("The Budget,", "budget", "plan"), "The plan,");
});

test("every key is bound once, and the table says what it does", () => {
  const names = KEYS.flatMap((key) => key.keys);
  assert.equal(new Set(names).size, names.length);
  const press = (key: string, code: string, rest: Partial<Pressed> = {}) =>
    binding({ key, code, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, altGraph: false, ...rest });
  assert.deepEqual([press("3", "Digit3")?.name, press("3", "Digit3")?.digit], ["1-9", 3]);
  assert.deepEqual([press("#", "Digit3", { shiftKey: true })?.name, press("§", "Digit3", { shiftKey: true })?.digit], ["Shift+1-9", 3]);
  assert.equal(press("S", "KeyS", { shiftKey: true })?.name, "Shift+S");
  assert.equal(press("z", "KeyZ", { ctrlKey: true })?.name, "Ctrl+Z");
  assert.equal(press("Z", "KeyZ", { metaKey: true, shiftKey: true })?.name, "Ctrl+Shift+Z");
  assert.equal(press("[", "Digit8", { altGraph: true, ctrlKey: true, altKey: true })?.name, "[");
  assert.equal(press("?", "Slash", { shiftKey: true })?.name, "?");
  assert.equal(press(" ", "Space")?.name, "Space");
  assert.equal(press("1", "Digit1", { altKey: true })?.name, "Alt+1");
  assert.equal(press("s", "KeyS", { ctrlKey: true }), null);
  assert.equal(press("1", "Digit1", { ctrlKey: true }), null);
});

test("typing is in fields of text, not on a file field or a button", () => {
  const element = (localName: string, type = "") => ({ localName, type }) as unknown as Element;
  assert.ok(isTyping(element("input", "text")) && isTyping(element("textarea")) && isTyping(element("select")));
  assert.ok(!isTyping(element("input", "file")) && !isTyping(element("input", "checkbox")) && !isTyping(element("button")) && !isTyping(null));
});

test("the outline of the sound at every zoom has the same peak", () => {
  const bins = new Int8Array(200_000);
  bins[2 * 70_001 + 1] = 127;
  const peaks = new Peaks(bins, 100);
  assert.equal(peaks.between(0, 1_000_000)[1], 1);
  assert.equal(peaks.between(700_000, 700_020)[1], 1);
  assert.equal(peaks.between(0, 600_000)[1], 0);
});

test("rows in view", () => {
  const heights = new Heights();
  heights.set(["a", "b", "c"], () => 100);
  assert.deepEqual(heights.range(150, 100, 0), [1, 3]);
  assert.equal(heights.measure(0, 40), -60);
  assert.deepEqual([heights.total, heights.top(1)], [240, 40]);
  heights.set(["a", "c"], () => 100);
  assert.equal(heights.total, 140);
});

// Saving

class Server implements Transport {
  readonly log: Entry[] = [];
  down = false;
  loseAnswer = false;
  private listeners: ((entry: Entry) => void)[] = [];
  readonly history = new History(STATE);

  write(operation: Operation, author: string): Entry {
    const entry = { number: this.log.length + 1, time: "t", author, operation, problem: "", undone: false };
    this.history.append(entry);
    this.log.push(entry);
    return entry;
  }

  tell(): void {
    for (const listener of this.listeners) for (const entry of this.log) listener(entry);
  }

  async post(after: number, operations: readonly Operation[]) {
    if (this.down) throw new TypeError("no answer");
    if (after !== this.log.length) return { status: 409, answer: { entries: this.log.slice(after) } };
    for (const [index, operation] of operations.entries()) {
      try {
        this.write(operation, "anna");
      } catch (error) {
        return { status: 422, answer: { problem: (error as Error).message, index, entries: this.log.slice(after) } };
      }
    }
    if (this.loseAnswer) {
      this.loseAnswer = false;
      throw new TypeError("connection reset");
    }
    return { status: 200, answer: { entries: this.log.slice(after) } };
  }

  listen(_: () => number, entry: (entry: Entry) => void) {
    this.listeners.push(entry);
    return () => undefined;
  }
}

const memory = () => {
  let value: string | null = null;
  return { get: () => value, set: (text: string | null) => void (value = text) };
};
const settled = async (saving: Saving): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await saving.flush();
  for (let i = 0; i < 20; i++) await Promise.resolve();
};
const open = (transport: Server, store = memory()) => {
  const history = new History(STATE, transport.log);
  return { history, store, saving: new Saving(history, "anna", transport, store, () => undefined) };
};
const NAME = (name: string): Operation => ({ op: "name_speaker", speaker: "SPEAKER_01", name });
const equalStates = (a: History, b: History) => assert.deepEqual(a.draft.freeze(), b.draft.freeze());

test("each operation is sent, and confirmed", async () => {
  const transport = new Server();
  const { saving, history } = open(transport);
  saving.submit(NAME("Anna"));
  assert.deepEqual([saving.state, saving.waiting], ["saving", 1]);
  await settled(saving);
  assert.deepEqual([saving.state, saving.waiting, transport.log.length], ["saved", 0, 1]);
  transport.tell();
  assert.equal(history.length, 1);
  assert.throws(() => saving.submit(NAME("Anna")), DoesNotFit);
});

test("what others wrote comes first; ids and numbers of what waited follow", async () => {
  const transport = new Server();
  const { saving, history } = open(transport);
  transport.down = true;
  saving.submit({ op: "insert_word", start: 100, end: 200, text: "well", speaker: "SPEAKER_01" });
  saving.submit({ op: "edit_word", word: "w@1", text: "Well" });
  saving.submit({ op: "add_speaker", speaker: "SPEAKER_03", name: "Cem" });
  saving.submit({ op: "assign", start: 4100, end: 8000, from: "SPEAKER_02", to: "SPEAKER_03" });
  saving.submit({ op: "undo", number: 2 });
  await settled(saving);
  assert.equal(saving.state, "offline");
  transport.write({ op: "add_speaker", speaker: "SPEAKER_03", name: "Dora" }, "ben");
  transport.write({ op: "delete_word", word: "w2000" }, "ben");
  transport.down = false;
  await settled(saving);
  assert.deepEqual([saving.state, saving.waiting, saving.lost], ["saved", 0, []]);
  assert.deepEqual(transport.log.slice(2).map((entry) => entry.operation), [
    { op: "insert_word", start: 100, end: 200, text: "well", speaker: "SPEAKER_01" },
    { op: "edit_word", word: "w@3", text: "Well" },
    { op: "add_speaker", speaker: "SPEAKER_04", name: "Cem" },
    { op: "assign", start: 4100, end: 8000, from: "SPEAKER_02", to: "SPEAKER_04" },
    { op: "undo", number: 4 },
  ]);
  equalStates(history, transport.history);
});

test("an answer that was lost is not written twice", async () => {
  const transport = new Server();
  const { saving, history } = open(transport);
  transport.loseAnswer = true;
  saving.submit(NAME("Anna"));
  saving.submit({ op: "edit_word", word: "w2000", text: "too" });
  await settled(saving);
  await settled(saving);
  assert.deepEqual([transport.log.length, saving.waiting, saving.state], [2, 0, "saved"]);
  equalStates(history, transport.history);
});

test("what does not fit after others is said, the rest goes on", async () => {
  const transport = new Server();
  const { saving, history } = open(transport);
  transport.down = true;
  saving.submit({ op: "edit_word", word: "w2000", text: "too" });
  saving.submit({ op: "undo", number: 1 });
  saving.submit(NAME("Anna"));
  await settled(saving);
  transport.write({ op: "delete_word", word: "w2000" }, "ben");
  transport.down = false;
  await settled(saving);
  assert.deepEqual(saving.lost, ["there is no word 'w2000'"]);
  assert.deepEqual(transport.log.map((entry) => entry.operation.op), ["delete_word", "name_speaker"]);
  equalStates(history, transport.history);
});

test("what waited is sent after the page was loaded again", async () => {
  const transport = new Server();
  const first = open(transport);
  transport.down = true;
  first.saving.submit(NAME("Anna"));
  first.saving.submit({ op: "edit_word", word: "w2000", text: "too" });
  await settled(first.saving);
  transport.down = false;
  transport.write({ op: "delete_word", word: "w1000" }, "ben");
  const second = open(transport, first.store);
  await settled(second.saving);
  assert.deepEqual(transport.log.map((entry) => entry.operation.op), ["delete_word", "name_speaker", "edit_word"]);
  assert.equal(first.store.get(), null);
  equalStates(second.history, transport.history);
});

test("random work of two people, with a bad line: nothing confirmed is lost, both see the same", async () => {
  let seed = 7;
  const random = (n: number): number => (seed = (seed * 16807) % 2147483647) % n;
  const transport = new Server();
  const pages = [open(transport), open(transport)];
  for (let i = 0; i < 300; i++) {
    const { saving, history } = pages[random(2)]!;
    transport.down = random(4) === 0;
    transport.loseAnswer = random(10) === 0;
    const { sortedWords, speakers } = history.draft;
    const ids = [...speakers.keys()];
    const one = sortedWords[random(Math.max(sortedWords.length, 1))];
    const choices: Operation[] = [
      { op: "edit_word", word: one?.id ?? "w0", text: `x${i}` },
      { op: "assign", start: random(100) * 100, end: 10_000 + random(90) * 100, from: ids[random(ids.length)]!, to: ids[random(ids.length)]! },
      { op: "insert_word", start: random(190) * 100, end: 19_500, text: `n${i}`, speaker: ids[0]! },
      { op: "add_speaker", speaker: nextSpeaker({ speakers: [...speakers.values()] }), name: null },
      { op: "undo", number: 1 + random(history.length + 1) },
      { op: "redo", number: 1 + random(history.length + 1) },
    ];
    try {
      saving.submit(choices[random(choices.length)]!);
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
    }
    if (random(3) === 0) await settled(saving);
    if (random(5) === 0) transport.tell();
  }
  transport.down = transport.loseAnswer = false;
  for (let i = 0; i < 6; i++) {
    for (const { saving } of pages) await settled(saving);
    transport.tell();
  }
  for (const { saving, history } of pages) {
    assert.equal(saving.waiting, 0);
    equalStates(history, transport.history);
  }
  assert.ok(transport.log.length > 60);
});

test("a single file keeps operations without what was taken back, with numbers that follow the log", async () => {
  const transport = new Server();
  transport.write(NAME("Anna"), "anna");
  const history = new History(STATE, transport.log);
  const saving = new Saving(history, "anna", null, memory(), () => undefined);
  saving.submit({ op: "edit_word", word: "w2000", text: "too" });
  saving.submit({ op: "insert_word", start: 100, end: 200, text: "well", speaker: null });
  saving.submit({ op: "undo", number: 2 });
  saving.submit({ op: "edit_word", word: "w@3", text: "Well" });
  assert.deepEqual(saving.operations, [
    { op: "insert_word", start: 100, end: 200, text: "well", speaker: null }, { op: "edit_word", word: "w@2", text: "Well" },
  ]);
  assert.deepEqual([saving.state, saving.waiting], ["local", 4]);
});

test("the part of a spectrogram is what is in view, at most a minute and 4096 columns", () => {
  assert.deepEqual(partOf({ from: 100.4, span: 60_000.2, width: 592 }, 2), { start: 100, end: 60_100, width: 1000 });
  assert.equal(partOf({ from: 0, span: 5000, width: 3092 }, 2)!.width, 4096);
  assert.equal(partOf({ from: 0, span: 60_001, width: 592 }, 1), null);
});

test("a spectrogram has its lowest band below, and its contrast follows its loudest values", () => {
  const values = new Uint8Array(128 * 2).fill(20); // two columns; the first is loud in the lowest band
  values[0] = 200;
  const pixels = paint(values, 2, [255, 255, 255], [0, 0, 0]);
  const pixel = (x: number, y: number) => [...pixels.slice(4 * (y * 2 + x), 4 * (y * 2 + x) + 4)];
  assert.deepEqual([pixel(0, 127), pixel(1, 127), pixel(0, 0)], [[0, 0, 0, 255], [255, 255, 255, 255], [255, 255, 255, 255]]);
  const quiet = paint(values.map((value) => value / 2 + 40), 2, [255, 255, 255], [0, 0, 0]);
  assert.deepEqual([...quiet.slice(4 * 254, 4 * 254 + 4)], [0, 0, 0, 255]);
});
