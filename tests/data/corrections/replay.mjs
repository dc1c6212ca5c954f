// tests/replay.ts
import { readFileSync } from "node:fs";

// src/check.ts
var DoesNotFit = class extends Error {
};
var FIELDS = {
  name_speaker: { speaker: ["text"], name: ["text", "null"] },
  add_speaker: { speaker: ["text"], name: ["text", "null"] },
  merge_speakers: { from: ["text"], into: ["text"] },
  assign: { start: ["ms"], end: ["ms"], from: ["text", "null"], to: ["text", "null"] },
  insert_turn: { start: ["ms"], end: ["ms"], speaker: ["text"] },
  set_turn: { turn: ["text"], start: ["ms"], end: ["ms"] },
  delete_turn: { turn: ["text"], words: ["text"] },
  check_turn: { turn: ["text"], checked: ["bool"] },
  edit_word: { word: ["text"], text: ["text"] },
  time_word: { word: ["text"], start: ["ms"], end: ["ms"] },
  insert_word: { start: ["ms"], end: ["ms"], text: ["text"], speaker: ["text", "null"] },
  delete_word: { word: ["text"] },
  note: { text: ["text"], start: ["ms", "null"], end: ["ms", "null"] },
  group: { operations: ["list"] }
};
var IS = {
  text: (value) => typeof value === "string",
  ms: (value) => Number.isInteger(value),
  bool: (value) => typeof value === "boolean",
  list: Array.isArray,
  null: (value) => value === null
};
function quoted(value) {
  const text = plain(value);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return quote + text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("'", quote === "'" ? "\\'" : "'") + quote;
}
function plain(value) {
  if (value === null || value === void 0) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  return typeof value === "string" || typeof value === "number" ? String(value) : JSON.stringify(value);
}
var has = (object, key) => Object.prototype.hasOwnProperty.call(object, key);
function check(operation) {
  if (typeof operation !== "object" || operation === null || Array.isArray(operation)) {
    throw new DoesNotFit(`not an operation: ${plain(operation).slice(0, 80)}`);
  }
  const values = operation;
  const op = values.op;
  if (typeof op !== "string" || !has(FIELDS, op)) throw new DoesNotFit(`not an operation: ${plain(operation).slice(0, 80)}`);
  const fields = FIELDS[op];
  for (const [key, kinds] of Object.entries(fields)) {
    if (!has(values, key)) throw new DoesNotFit(`${op} lacks ${quoted(key)}`);
    const value = values[key];
    if (!kinds.some((kind) => IS[kind](value))) {
      throw new DoesNotFit(`${op}: ${key} is ${quoted([...plain(value)].slice(0, 40).join(""))}`);
    }
  }
  const unknown = Object.keys(values).filter((key) => key !== "op" && !has(fields, key)).sort();
  if (unknown.length) throw new DoesNotFit(`${op} has no field ${quoted(unknown[0])}`);
  if (op === "group") {
    const parts = values.operations;
    if (!parts.length) throw new DoesNotFit("a group without operations");
    for (const part of parts) if (check(part).op === "group") throw new DoesNotFit("a group inside a group");
  }
  return values;
}

// src/state.ts
var isWord = (item) => "text" in item;
function before(a, b) {
  return a.start - b.start || a.end - b.end || a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
function position(list, isBefore) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = low + high >> 1;
    if (isBefore(list[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

// src/operations.ts
var BLANKS = /^[ \t\r\n]+|[ \t\r\n]+$/g;
var strip = (text) => text.replace(BLANKS, "");
var Draft = class {
  duration;
  sortedWords;
  sortedTurns;
  notes;
  speakers;
  turns;
  words;
  turnsOf = /* @__PURE__ */ new Map();
  // speaker -> id -> turn
  longest = 0;
  // ms, of the longest word that there has been
  number = 0;
  added = 0;
  patch = /* @__PURE__ */ new Map();
  constructor(state) {
    this.duration = state.duration;
    this.speakers = new Map(state.speakers.map((speaker) => [speaker.id, speaker]));
    this.turns = new Map(state.turns.map((turn) => [turn.id, turn]));
    this.words = new Map(state.words.map((word) => [word.id, word]));
    this.notes = [...state.notes];
    this.sortedWords = [...this.words.values()].sort(before);
    this.sortedTurns = [...this.turns.values()].sort(before);
    for (const turn of this.turns.values()) this.of(turn.speaker).set(turn.id, turn);
    for (const word of this.sortedWords) this.longest = Math.max(this.longest, word.end - word.start);
  }
  /** The state now. */
  freeze() {
    return {
      duration: this.duration,
      speakers: [...this.speakers.values()],
      turns: [...this.sortedTurns],
      words: [...this.sortedWords],
      notes: [...this.notes]
    };
  }
  word(id) {
    return this.words.get(id);
  }
  turn(id) {
    return this.turns.get(id);
  }
  /** Change the draft; how to take it back. Throws DoesNotFit, and then the draft is as before. */
  apply(operation, number) {
    const checked = check(operation);
    this.number = number;
    this.added = 0;
    this.patch = /* @__PURE__ */ new Map();
    const patch = { items: this.patch, speakers: new Map(this.speakers), notes: this.notes.length };
    try {
      const parts = checked.op === "group" ? checked.operations : [checked];
      for (const part of parts) RULES[part.op](this, part);
      if (!this.changed(patch)) throw new DoesNotFit("nothing would change");
    } catch (error) {
      this.revert(patch);
      throw error;
    }
    return patch;
  }
  /** Take back the operation that gave this patch: the last one that is in effect. */
  revert(patch) {
    this.speakers = new Map(patch.speakers);
    this.notes.length = patch.notes;
    this.patch = /* @__PURE__ */ new Map();
    for (const [id, item] of patch.items) this.set(id, item);
  }
  changed(patch) {
    if (this.notes.length !== patch.notes || this.speakers.size !== patch.speakers.size) return true;
    for (const [id, speaker] of this.speakers) if (!same(speaker, patch.speakers.get(id))) return true;
    for (const [id, item] of patch.items) if (!same(item ?? void 0, this.turns.get(id) ?? this.words.get(id))) return true;
    return false;
  }
  // Turns and words by id, in order, and by speaker
  of(speaker) {
    let own = this.turnsOf.get(speaker);
    if (!own) this.turnsOf.set(speaker, own = /* @__PURE__ */ new Map());
    return own;
  }
  /** Give a turn or word another value, or none, and remember the one before the operation. */
  set(id, item) {
    const turn = this.turns.get(id);
    const word = this.words.get(id);
    if (!this.patch.has(id)) this.patch.set(id, turn ?? word ?? null);
    if (turn && (item === null || isWord(item) || turn.speaker !== item.speaker)) this.turnsOf.get(turn.speaker).delete(id);
    if (item === null) {
      if (turn) this.turns.delete(id), replaceIn(this.sortedTurns, turn, null);
      if (word) this.words.delete(id), replaceIn(this.sortedWords, word, null);
    } else if (isWord(item)) {
      this.words.set(id, item);
      this.longest = Math.max(this.longest, item.end - item.start);
      replaceIn(this.sortedWords, word ?? null, item);
    } else {
      this.turns.set(id, item);
      this.of(item.speaker).set(id, item);
      replaceIn(this.sortedTurns, turn ?? null, item);
    }
  }
  /** Words of a speaker (null: of nobody) whose middle lies in start .. end. */
  wordsOf(speaker, start, end) {
    const list = this.sortedWords;
    const words = [];
    for (let i = position(list, (word) => word.start < start - this.longest); i < list.length; i++) {
      const word = list[i];
      if (word.start >= end) break;
      if (word.speaker === speaker && 2 * start <= word.start + word.end && word.start + word.end < 2 * end) words.push(word);
    }
    return words;
  }
  // What the rules share
  theSpeaker(id) {
    const speaker = this.speakers.get(id);
    if (!speaker) throw new DoesNotFit(`there is no speaker ${quoted(id)}`);
    return speaker;
  }
  theTurn(id) {
    const turn = this.turns.get(id);
    if (!turn) throw new DoesNotFit(`there is no turn ${quoted(id)}`);
    return turn;
  }
  theWord(id) {
    const word = this.words.get(id);
    if (!word) throw new DoesNotFit(`there is no word ${quoted(id)}`);
    return word;
  }
  span({ start, end }, empty = false) {
    if (!(0 <= start && start <= end && end <= this.duration) || start === end && !empty) {
      throw new DoesNotFit(`no time of the recording: ${start} to ${end} ms of ${this.duration} ms`);
    }
    return { start, end };
  }
  newId(prefix) {
    this.added += 1;
    return this.added === 1 ? `${prefix}@${this.number}` : `${prefix}@${this.number}.${this.added}`;
  }
  /** Take start .. end out of the speaker's turns; the parts that were taken out. */
  cut(speaker, start, end) {
    const own = [...this.of(speaker).values()].sort(before);
    const pieces = [];
    for (const turn of own) {
      if (turn.end <= start || end <= turn.start) continue;
      pieces.push({ start: Math.max(start, turn.start), end: Math.min(end, turn.end) });
      this.set(turn.id, null);
      if (turn.start < start) this.set(turn.id, { ...turn, end: start, human: true });
      if (end < turn.end) {
        const id = turn.start < start ? this.newId("t") : turn.id;
        this.set(id, { ...turn, id, start: end, human: true });
      }
    }
    return pieces;
  }
  /** Add a turn, together with those of its speaker that it overlaps or touches: under the id of the earliest. */
  addTurn(turn) {
    const joined = [...this.of(turn.speaker).values()].filter((other) => other.start <= turn.end && turn.start <= other.end).sort(before);
    for (const other of joined) this.set(other.id, null);
    let first = turn;
    for (const other of joined) {
      if (other.start < first.start || first === turn && other.start === turn.start) first = other;
    }
    this.set(first.id, {
      ...turn,
      id: first.id,
      start: joined.reduce((start, other) => Math.min(start, other.start), turn.start),
      end: joined.reduce((end, other) => Math.max(end, other.end), turn.end),
      checked: turn.checked && joined.every((other) => other.checked)
    });
  }
  giveWords(words, speaker) {
    for (const word of words) this.set(word.id, decided({ ...word, speaker }, "speaker"));
  }
  allTurnsOf(speaker) {
    return [...this.of(speaker).values()].sort(before);
  }
  allWordsOf(speaker) {
    return this.sortedWords.filter((word) => word.speaker === speaker);
  }
};
var newTurn = (draft, { start, end }, speaker) => ({
  id: draft.newId("t"),
  start,
  end,
  speaker,
  human: true,
  checked: false,
  confidence: null
});
var RULES = {
  name_speaker(draft, { speaker, name }) {
    const old = draft.theSpeaker(speaker);
    if (name !== null && !strip(name)) throw new DoesNotFit("a name has at least one letter");
    if (name === old.name) throw new DoesNotFit(`${old.id} is called ${name === null ? "None" : quoted(name)} already`);
    draft.speakers.set(old.id, { ...old, name, human: true });
  },
  add_speaker(draft, { speaker, name }) {
    if (!strip(speaker)) throw new DoesNotFit("a speaker's id is empty");
    if (draft.speakers.has(speaker)) throw new DoesNotFit(`there is a speaker ${quoted(speaker)} already`);
    draft.speakers.set(speaker, { id: speaker, name, human: true });
  },
  merge_speakers(draft, { from, into }) {
    const gone = draft.theSpeaker(from);
    const remaining = draft.theSpeaker(into);
    if (gone.id === remaining.id) throw new DoesNotFit("a speaker cannot be merged with itself");
    for (const turn of draft.allTurnsOf(gone.id)) {
      draft.set(turn.id, null);
      draft.addTurn({ ...turn, speaker: remaining.id, human: true });
    }
    draft.giveWords(draft.allWordsOf(gone.id), remaining.id);
    draft.speakers.delete(gone.id);
  },
  assign(draft, operation) {
    const { start, end } = draft.span(operation);
    const { from, to } = operation;
    for (const speaker of [from, to]) if (speaker !== null) draft.theSpeaker(speaker);
    if (from === to) throw new DoesNotFit("it is that speaker's already");
    const pieces = from === null ? [{ start, end }] : draft.cut(from, start, end);
    const words = draft.wordsOf(from, start, end);
    if (!pieces.length && !words.length) throw new DoesNotFit(`${from} does not speak there`);
    if (to !== null) for (const piece of pieces) draft.addTurn(newTurn(draft, piece, to));
    draft.giveWords(words, to);
  },
  insert_turn(draft, operation) {
    const { start, end } = draft.span(operation);
    const speaker = draft.theSpeaker(operation.speaker).id;
    draft.addTurn(newTurn(draft, { start, end }, speaker));
    draft.giveWords(draft.wordsOf(null, start, end), speaker);
  },
  set_turn(draft, operation) {
    const turn = draft.theTurn(operation.turn);
    const { start, end } = draft.span(operation);
    if (start === turn.start && end === turn.end) throw new DoesNotFit("the turn has these ends already");
    draft.set(turn.id, null);
    draft.addTurn({ ...turn, start, end, human: true });
  },
  delete_turn(draft, { turn: id, words: fate }) {
    const turn = draft.theTurn(id);
    if (fate !== "keep" && fate !== "delete") {
      throw new DoesNotFit(`words of a deleted turn are kept or deleted, not ${quoted(fate)}`);
    }
    draft.set(turn.id, null);
    const words = draft.wordsOf(turn.speaker, turn.start, turn.end);
    if (fate === "keep") draft.giveWords(words, null);
    else for (const word of words) draft.set(word.id, null);
  },
  check_turn(draft, { turn: id, checked }) {
    const turn = draft.theTurn(id);
    if (turn.checked === checked) throw new DoesNotFit("the turn is marked so already");
    draft.set(turn.id, { ...turn, checked });
  },
  edit_word(draft, operation) {
    const word = draft.theWord(operation.word);
    const text = visible(operation.text);
    if (text === word.text) throw new DoesNotFit("the word is written so already");
    draft.set(word.id, decided({ ...word, text, probability: null }, "text"));
  },
  time_word(draft, operation) {
    const word = draft.theWord(operation.word);
    const { start, end } = draft.span(operation, true);
    if (start === word.start && end === word.end) throw new DoesNotFit("the word has these times already");
    draft.set(word.id, decided({ ...word, start, end }, "time"));
  },
  insert_word(draft, operation) {
    const { start, end } = draft.span(operation, true);
    const { speaker } = operation;
    if (speaker !== null) draft.theSpeaker(speaker);
    const id = draft.newId("w");
    draft.set(id, { id, start, end, text: visible(operation.text), speaker, probability: null, human: ["new"] });
  },
  delete_word(draft, { word }) {
    draft.set(draft.theWord(word).id, null);
  },
  note(draft, operation) {
    let { start, end } = operation;
    if (start !== null) ({ start, end } = draft.span({ start, end: end ?? start }, true));
    draft.notes.push({ id: draft.newId("n"), text: visible(operation.text), start, end });
  }
};
function decided(word, what) {
  if (word.human.includes(what) || word.human.includes("new")) return word;
  return { ...word, human: [...word.human, what].sort() };
}
function visible(text) {
  const stripped = strip(text);
  if (!stripped) throw new DoesNotFit("a text has at least one letter");
  return stripped;
}
function same(a, b) {
  if (a === b) return true;
  if (a === void 0 || b === void 0) return false;
  const x = a;
  const y = b;
  const keys = Object.keys(x);
  return keys.length === Object.keys(y).length && keys.every((key) => x[key] === y[key] || Array.isArray(x[key]) && String(x[key]) === String(y[key]));
}
function replaceIn(list, old, item) {
  if (old) {
    const i = position(list, (one) => before(one, old) < 0);
    if (item && before(old, item) === 0) {
      list[i] = item;
      return;
    }
    list.splice(i, 1);
  }
  if (item) list.splice(position(list, (one) => before(one, item) < 0), 0, item);
}

// src/history.ts
var isUndo = (operation) => operation.op === "undo" || operation.op === "redo";
var History = class {
  draft;
  steps = [];
  undone = /* @__PURE__ */ new Set();
  constructor(state, entries = []) {
    this.draft = new Draft(state);
    for (const { operation } of entries) this.mark(operation);
    for (const entry of entries) {
      const step = { entry, blocked: "", problem: "", patch: null };
      this.redoStep(step);
      if (entry.problem && !step.problem && !isUndo(entry.operation) && !this.undone.has(entry.number)) {
        if (step.patch) this.draft.revert(step.patch);
        this.steps.push({ ...step, patch: null, problem: entry.problem, blocked: entry.problem });
      } else this.steps.push(step);
    }
  }
  get length() {
    return this.steps.length;
  }
  /** Entries with what became of them. */
  get entries() {
    return this.steps.map(({ entry, problem }) => ({ ...entry, problem, undone: this.undone.has(entry.number) }));
  }
  entry(number) {
    return this.steps[number - 1]?.entry;
  }
  /** Append an entry whose number is the next one. Throws DoesNotFit, and then nothing is changed. */
  append(entry) {
    const operation = this.check(entry.operation);
    if (!isUndo(operation)) {
      const patch = this.draft.apply(operation, entry.number);
      this.steps.push({ entry, blocked: "", problem: "", patch });
      return;
    }
    const target = operation.number;
    const after = this.steps.splice(target - 1);
    this.rollBack(after);
    this.mark(operation);
    this.replay(after);
    this.steps.push({ entry, blocked: "", problem: "", patch: null });
  }
  /** Append an entry that is in the log already, whether it fits or not. */
  record(entry) {
    try {
      this.append(entry);
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      this.steps.push({ entry, blocked: "", problem: entry.problem || error.message, patch: null });
    }
  }
  /** Remove the entries after `number`; the last ones first. */
  truncate(number) {
    const removed = this.steps.splice(number);
    this.rollBack(removed);
    const marks = removed.some(({ entry }) => isUndo(entry.operation));
    if (!marks) return;
    const all = this.steps.splice(0);
    this.rollBack(all);
    this.undone.clear();
    for (const { entry } of all) this.mark(entry.operation);
    this.replay(all);
  }
  /** What the author can take back and bring again: numbers, the next one last. */
  reach(author) {
    const undo = [];
    let redo = [];
    for (const { entry, problem } of this.steps) {
      if (entry.author !== author) continue;
      const target = entry.operation.number;
      if (entry.operation.op === "undo") {
        remove(undo, target);
        redo.push(target);
      } else if (entry.operation.op === "redo") {
        remove(redo, target);
        undo.push(target);
      } else if (!problem || this.undone.has(entry.number)) {
        undo.push(entry.number);
        redo = [];
      }
    }
    return { undo: undo.filter((n) => !this.undone.has(n)), redo: redo.filter((n) => this.undone.has(n)) };
  }
  /** The operation of a new entry. Throws DoesNotFit for one that can never be applied. */
  check(operation) {
    if (!isUndo(operation)) return check(operation);
    const number = operation.number;
    const target = Number.isInteger(number) ? this.steps[number - 1] : void 0;
    if (Object.keys(operation).length !== 2 || !target) {
      throw new DoesNotFit(`there is no operation ${plain(number)} to ${operation.op}`);
    }
    if (isUndo(target.entry.operation)) throw new DoesNotFit(`operation ${number} is itself an undo or redo`);
    if (this.undone.has(number) === (operation.op === "undo")) {
      throw new DoesNotFit(`operation ${number} is ${operation.op === "undo" ? "taken back already" : "in effect"}`);
    }
    return operation;
  }
  mark(operation) {
    if (operation.op === "undo") this.undone.add(operation.number);
    else if (operation.op === "redo") this.undone.delete(operation.number);
  }
  rollBack(steps) {
    for (let i = steps.length - 1; i >= 0; i--) {
      const step = steps[i];
      if (step.patch) this.draft.revert(step.patch);
      step.patch = null;
    }
  }
  replay(steps) {
    for (const step of steps) {
      this.redoStep(step);
      this.steps.push(step);
    }
  }
  redoStep(step) {
    const { entry } = step;
    step.patch = null;
    step.problem = "";
    if (isUndo(entry.operation) || this.undone.has(entry.number)) return;
    if (step.blocked) {
      step.problem = step.blocked;
      return;
    }
    try {
      step.patch = this.draft.apply(entry.operation, entry.number);
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      step.problem = error.message;
    }
  }
};
function remove(list, value) {
  const i = list.lastIndexOf(value);
  if (i >= 0) list.splice(i, 1);
}

// src/conformance.ts
function replayed(example) {
  const history = new History(example.state);
  const problems = [];
  for (const operation of example.operations) {
    const number = history.length + 1;
    try {
      history.append({ number, time: "", author: "anna", operation, problem: "", undone: false });
      problems.push("");
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      problems.push(error.message);
    }
  }
  const conflicts = {};
  for (const entry of history.entries) if (entry.problem) conflicts[entry.number] = entry.problem;
  return { problems, conflicts, expected: history.draft.freeze() };
}

// tests/replay.ts
var cases = JSON.parse(readFileSync(process.argv[2], "utf8"));
process.stdout.write(JSON.stringify(cases.map(replayed)));
