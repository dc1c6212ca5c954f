// One change of a state by a person: (state, operation) -> state. The same rules as diarize/corrections/operations.py;
// both are tested with the same examples (tests/data/corrections) and with the same random lists of operations.

import { check, DoesNotFit, quoted, type Operation } from "./check.ts";
import { before, isWord, position, type Item, type Note, type Speaker, type State, type Turn, type Word } from "./state.ts";

/** What is needed to take an operation back: turns and words as they were (null: not there), speakers, count of notes. */
export interface Patch {
  readonly items: ReadonlyMap<string, Item | null>;
  readonly speakers: ReadonlyMap<string, Speaker>;
  readonly notes: number;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

type Rule = (draft: Draft, operation: any) => void;

const BLANKS = /^[ \t\r\n]+|[ \t\r\n]+$/g;
const strip = (text: string): string => text.replace(BLANKS, "");

/** A state that is being changed. Words and turns are also held in order, so that an operation touches only its part. */
export class Draft {
  readonly duration: number;
  readonly sortedWords: Word[];
  readonly sortedTurns: Turn[];
  readonly notes: Note[];
  speakers: Map<string, Speaker>;
  private readonly turns: Map<string, Turn>;
  private readonly words: Map<string, Word>;
  private readonly turnsOf = new Map<string, Map<string, Turn>>(); // speaker -> id -> turn
  private longest = 0; // ms, of the longest word that there has been
  private number = 0;
  private added = 0;
  private patch = new Map<string, Item | null>();

  constructor(state: State) {
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
  freeze(): State {
    return {
      duration: this.duration,
      speakers: [...this.speakers.values()],
      turns: [...this.sortedTurns],
      words: [...this.sortedWords],
      notes: [...this.notes],
    };
  }

  word(id: string): Word | undefined {
    return this.words.get(id);
  }

  turn(id: string): Turn | undefined {
    return this.turns.get(id);
  }

  /** Change the draft; how to take it back. Throws DoesNotFit, and then the draft is as before. */
  apply(operation: unknown, number: number): Patch {
    const checked = check(operation);
    this.number = number;
    this.added = 0;
    this.patch = new Map();
    const patch: Patch = { items: this.patch, speakers: new Map(this.speakers), notes: this.notes.length };
    try {
      const parts = checked.op === "group" ? (checked.operations as Operation[]) : [checked];
      for (const part of parts) RULES[part.op]!(this, part);
      if (!this.changed(patch)) throw new DoesNotFit("nothing would change");
    } catch (error) {
      this.revert(patch);
      throw error;
    }
    return patch;
  }

  /** Take back the operation that gave this patch: the last one that is in effect. */
  revert(patch: Patch): void {
    this.speakers = new Map(patch.speakers);
    this.notes.length = patch.notes;
    this.patch = new Map();
    for (const [id, item] of patch.items) this.set(id, item);
  }

  private changed(patch: Patch): boolean {
    if (this.notes.length !== patch.notes || this.speakers.size !== patch.speakers.size) return true;
    for (const [id, speaker] of this.speakers) if (!same(speaker, patch.speakers.get(id))) return true;
    for (const [id, item] of patch.items) if (!same(item ?? undefined, this.turns.get(id) ?? this.words.get(id))) return true;
    return false;
  }

  // Turns and words by id, in order, and by speaker

  private of(speaker: string): Map<string, Turn> {
    let own = this.turnsOf.get(speaker);
    if (!own) this.turnsOf.set(speaker, (own = new Map()));
    return own;
  }

  /** Give a turn or word another value, or none, and remember the one before the operation. */
  set(id: string, item: Item | null): void {
    const turn = this.turns.get(id);
    const word = this.words.get(id);
    if (!this.patch.has(id)) this.patch.set(id, turn ?? word ?? null);
    if (turn && (item === null || isWord(item) || turn.speaker !== item.speaker)) this.turnsOf.get(turn.speaker)!.delete(id);
    if (item === null) {
      if (turn) (this.turns.delete(id), replaceIn(this.sortedTurns, turn, null));
      if (word) (this.words.delete(id), replaceIn(this.sortedWords, word, null));
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
  wordsOf(speaker: string | null, start: number, end: number): Word[] {
    const list = this.sortedWords;
    const words: Word[] = [];
    for (let i = position(list, (word) => word.start < start - this.longest); i < list.length; i++) {
      const word = list[i]!;
      if (word.start >= end) break;
      if (word.speaker === speaker && 2 * start <= word.start + word.end && word.start + word.end < 2 * end) words.push(word);
    }
    return words;
  }

  // What the rules share

  theSpeaker(id: string): Speaker {
    const speaker = this.speakers.get(id);
    if (!speaker) throw new DoesNotFit(`there is no speaker ${quoted(id)}`);
    return speaker;
  }

  theTurn(id: string): Turn {
    const turn = this.turns.get(id);
    if (!turn) throw new DoesNotFit(`there is no turn ${quoted(id)}`);
    return turn;
  }

  theWord(id: string): Word {
    const word = this.words.get(id);
    if (!word) throw new DoesNotFit(`there is no word ${quoted(id)}`);
    return word;
  }

  span({ start, end }: Span, empty = false): Span {
    if (!(0 <= start && start <= end && end <= this.duration) || (start === end && !empty)) {
      throw new DoesNotFit(`no time of the recording: ${start} to ${end} ms of ${this.duration} ms`);
    }
    return { start, end };
  }

  newId(prefix: string): string {
    this.added += 1;
    return this.added === 1 ? `${prefix}@${this.number}` : `${prefix}@${this.number}.${this.added}`;
  }

  /** Take start .. end out of the speaker's turns; the parts that were taken out. */
  cut(speaker: string, start: number, end: number): Span[] {
    const own = [...this.of(speaker).values()].sort(before);
    const pieces: Span[] = [];
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
  addTurn(turn: Turn): void {
    const joined = [...this.of(turn.speaker).values()]
      .filter((other) => other.start <= turn.end && turn.start <= other.end)
      .sort(before);
    for (const other of joined) this.set(other.id, null);
    let first = turn;
    for (const other of joined) {
      if (other.start < first.start || (first === turn && other.start === turn.start)) first = other;
    }
    this.set(first.id, {
      ...turn,
      id: first.id,
      start: joined.reduce((start, other) => Math.min(start, other.start), turn.start),
      end: joined.reduce((end, other) => Math.max(end, other.end), turn.end),
      checked: turn.checked && joined.every((other) => other.checked),
    });
  }

  giveWords(words: readonly Word[], speaker: string | null): void {
    for (const word of words) this.set(word.id, decided({ ...word, speaker }, "speaker"));
  }

  allTurnsOf(speaker: string): Turn[] {
    return [...this.of(speaker).values()].sort(before);
  }

  allWordsOf(speaker: string): Word[] {
    return this.sortedWords.filter((word) => word.speaker === speaker);
  }
}

const newTurn = (draft: Draft, { start, end }: Span, speaker: string): Turn => ({
  id: draft.newId("t"), start, end, speaker, human: true, checked: false, confidence: null,
});

const RULES: Readonly<Record<string, Rule>> = {
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
    const { from, to } = operation as { from: string | null; to: string | null };
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
    let { start, end } = operation as { start: number | null; end: number | null };
    if (start !== null) ({ start, end } = draft.span({ start, end: end ?? start }, true));
    draft.notes.push({ id: draft.newId("n"), text: visible(operation.text), start, end });
  },
};

/** The state after operation `number`, which is part of the ids of what it adds. Throws DoesNotFit. */
export function apply(state: State, operation: unknown, number: number): State {
  const draft = new Draft(state);
  draft.apply(operation, number);
  return draft.freeze();
}

/** The word, with `what` among a person's decisions. All of a new word is a person's already. */
function decided(word: Word, what: string): Word {
  if (word.human.includes(what) || word.human.includes("new")) return word;
  return { ...word, human: [...word.human, what].sort() };
}

/** The text of a word or note. Throws DoesNotFit where nothing of it is to be seen. */
function visible(text: string): string {
  const stripped = strip(text);
  if (!stripped) throw new DoesNotFit("a text has at least one letter");
  return stripped;
}

function same(a: Item | Speaker | undefined, b: Item | Speaker | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  const x = a as unknown as Record<string, unknown>;
  const y = b as unknown as Record<string, unknown>;
  const keys = Object.keys(x);
  return (
    keys.length === Object.keys(y).length &&
    keys.every((key) => x[key] === y[key] || (Array.isArray(x[key]) && String(x[key]) === String(y[key])))
  );
}

/** Exchange, insert or remove an item of a sorted list. */
function replaceIn<T extends Item>(list: T[], old: T | null, item: T | null): void {
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
