// The page's state: the corrected transcript, the cursor, filters and the search; who shows it subscribes.

import { DoesNotFit, type Operation } from "./check.ts";
import { initials, look, type Look } from "./colours.ts";
import { loadPeaks, loadPeople, machineState, type PeopleFacts, type Source } from "./data.ts";
import { Doubts, type Pass } from "./doubts.ts";
import { History } from "./history.ts";
import { Player } from "./player.ts";
import { Saving, server, tabMemory, type Memory } from "./saving.ts";
import { Search } from "./search.ts";
import { position, type Speaker, type State, type Word } from "./state.ts";
import { rowsOf, type Row } from "./utterances.ts";

export interface Person extends Speaker {
  readonly position: number;
  readonly digit: number | null; // 1 to 9
  readonly label: string; // for readers
  readonly initials: string;
  readonly look: Look;
  readonly time: number; // ms of speech
  readonly turns: number;
}

export interface Filter {
  speaker: string; // id; "": all; "-": nobody
  low: boolean;
  overlap: boolean;
  unchecked: boolean;
}

/** A question that one key answers: whose is it? */
export interface Choice {
  readonly title: string;
  readonly named?: "any" | "new"; // with a field for a name: of anybody, or of somebody who is not there yet
  readonly answer: (speaker: string | null | { name: string }) => void;
}

export type Dialog = "help" | "note" | "rename" | "log" | "times" | null;

const WAITS = [500, 1000, 2000, 4000]; // ms, until the server is asked again whether it has compared the voices

export const LOW = 0.6; // probability under which a word is marked

export class App {
  readonly history: History;
  readonly saving: Saving;
  readonly player: Player;
  readonly doubts: Doubts;
  readonly search: Search;
  readonly filter: Filter = { speaker: "", low: false, overlap: false, unchecked: false };
  peaks: Int8Array | null = null;
  people: PeopleFacts | null = null;
  version = 0; // grows with every change of the transcript
  cursor = ""; // id of the word, or of the turn without words, that is current
  anchor: string | null = null; // the other end of the selection
  editing: { row: string; from: number; to: number } | null = null;
  choice: Choice | null = null;
  dialog: Dialog = null;
  pass: Pass = "turns";
  message: { text: string; wrong: boolean; at: number } | null = null;
  spectrogram = false; // whether the timeline shows it
  sounding = ""; // id of the word that sounds
  readonly listeners = new Set<() => void>();
  readonly ticks = new Set<(ms: number) => void>();
  reveal: ((row: number) => void) | null = null; // the list scrolls there
  zoom: ((factor: number) => void) | null = null; // of the timeline
  private peopleTimer: ReturnType<typeof setTimeout> | undefined;
  private stale = false; // whether the candidates are to be asked for, when all is saved
  private readonly memory: Memory;
  private remembered = ""; // the place, as the tab has it
  private cache = new Map<string, { version: number; value: unknown }>();
  private scheduled = false;

  constructor(readonly source: Source) {
    this.history = new History(machineState(source), source.entries);
    const own = source.readonly ? null : server(source.recording.version);
    this.saving = new Saving(this.history, source.author, own, tabMemory(source.recording.id), () => this.edited());
    this.player = new Player(source.audio?.url ?? null, (ms) => this.tick(ms), () => this.update());
    this.doubts = new Doubts(this);
    this.search = new Search(this);
    this.cursor = this.rows[0] ? firstOf(this.rows[0]) : "";
    this.memory = tabMemory(`${source.recording.id}:place`);
    this.restore();
    void loadPeaks(source).then((peaks) => ((this.peaks = peaks), this.update()), () => undefined);
    void this.refreshPeople();
  }

  /** Ask for candidates and pairs; again while the server compares voices. `tries`: how often it was asked. */
  async refreshPeople(tries = 0): Promise<void> {
    clearTimeout(this.peopleTimer);
    this.stale = false;
    try {
      const answer = await loadPeople(this.source);
      this.people = answer.pending && this.people ? { ...answer, pairs: this.people.pairs } : answer;
    } catch {
      this.people ??= { speakers: {}, pairs: [] };
    }
    if (this.people.pending) {
      this.peopleTimer = setTimeout(() => void this.refreshPeople(tries + 1), WAITS[Math.min(tries, WAITS.length - 1)]);
    }
    this.update();
  }

  /** Ask for candidates as soon as the server knows what was changed. */
  refreshPeopleWhenSaved(): void {
    if (this.saving.waiting) this.stale = true;
    else void this.refreshPeople();
  }

  /** Where this tab was before the page was loaded again. */
  private restore(): void {
    try {
      const { cursor, time, pass } = JSON.parse(this.memory.get() ?? "{}") as { cursor?: string; time?: number; pass?: Pass };
      if (pass === "people" || pass === "turns" || pass === "words") this.pass = pass;
      if (typeof cursor !== "string" || typeof time !== "number") return;
      this.cursor = cursor;
      if (!this.places.has(cursor)) this.keepCursor(time);
      if (this.row) this.player.seek(this.row.words[this.wordIndex]?.start ?? this.row.start);
    } catch {
      this.memory.set(null);
    }
  }

  private remember(): void {
    const place = JSON.stringify({ cursor: this.cursor, time: this.row?.start ?? 0, pass: this.pass });
    if (place !== this.remembered) this.memory.set((this.remembered = place));
  }

  /** Whether there is a server that computes spectrograms. */
  get hasSpectrogram(): boolean {
    return !this.source.readonly && this.source.peaks?.url !== undefined;
  }

  // What follows from the transcript; computed once for each version

  private once<T>(key: string, compute: () => T): T {
    const known = this.cache.get(key);
    if (known?.version === this.version) return known.value as T;
    const value = compute();
    this.cache.set(key, { version: this.version, value });
    return value;
  }

  get state(): State {
    const { draft } = this.history;
    return this.once("state", () => ({
      duration: draft.duration, speakers: [...draft.speakers.values()], turns: draft.sortedTurns,
      words: draft.sortedWords, notes: draft.notes,
    }));
  }

  get rows(): Row[] {
    return this.once("rows", () => rowsOf(this.state));
  }

  /** Id of each word, and of each turn without words -> position of its row. */
  private get places(): Map<string, number> {
    return this.once("places", () => {
      const places = new Map<string, number>();
      this.rows.forEach((row, i) => {
        if (row.words.length) for (const word of row.words) places.set(word.id, i);
        else places.set(row.key, i);
      });
      return places;
    });
  }

  get persons(): Person[] {
    return this.once("persons", () => {
      const times = new Map<string, [number, number]>();
      for (const turn of this.state.turns) {
        const sum = times.get(turn.speaker) ?? times.set(turn.speaker, [0, 0]).get(turn.speaker)!;
        sum[0] += turn.end - turn.start;
        sum[1] += 1;
      }
      return this.state.speakers.map((speaker, i) => {
        const name = this.source.blind && !speaker.human ? null : speaker.name;
        const [time, turns] = times.get(speaker.id) ?? [0, 0];
        return {
          ...speaker, name, position: i, digit: i < 9 ? i + 1 : null, label: name ?? speaker.id,
          initials: initials(speaker.id, name), look: look(i), time, turns,
        };
      });
    });
  }

  person(id: string | null): Person | null {
    if (id === null) return null;
    return this.once("byId", () => new Map(this.persons.map((one) => [one.id, one]))).get(id) ?? null;
  }

  label(id: string | null): string {
    return id === null ? "nobody" : (this.person(id)?.label ?? id);
  }

  /** Positions of the rows that the filter lets through. */
  get shown(): number[] {
    const { speaker, low, overlap, unchecked } = this.filter;
    return this.once(`shown ${JSON.stringify(this.filter)}`, () => this.select(speaker, low, overlap, unchecked));
  }

  private select(speaker: string, low: boolean, overlap: boolean, unchecked: boolean): number[] {
    const list: number[] = [];
    this.rows.forEach((row, i) => {
      if (speaker && (speaker === "-" ? row.speaker !== null : row.speaker !== speaker)) return;
      if (low && !row.words.some(isLow) && !row.turns.some((turn) => turn.confidence !== null && turn.confidence < LOW && !turn.human)) return;
      if (overlap && !row.overlap) return;
      if (unchecked && row.turns.length && row.turns.every((turn) => turn.checked)) return;
      list.push(i);
    });
    return list;
  }

  // The cursor

  get rowIndex(): number {
    return this.places.get(this.cursor) ?? -1;
  }

  get row(): Row | null {
    return this.rows[this.rowIndex] ?? null;
  }

  rowOf(id: string): number {
    return this.places.get(id) ?? -1;
  }

  /** Position of the cursor's word in its row. */
  get wordIndex(): number {
    return Math.max(this.row?.words.findIndex((word) => word.id === this.cursor) ?? 0, 0);
  }

  /** What is selected: whole rows, or words of one row. Without a selection: the current row. */
  get selection(): { row: Row; from: number; to: number; whole: boolean }[] {
    const row = this.row;
    if (!row) return [];
    const all = (one: Row) => ({ row: one, from: 0, to: one.words.length - 1, whole: true });
    if (this.anchor === null) return [all(row)];
    const other = this.places.get(this.anchor) ?? this.rowIndex;
    if (other === this.rowIndex) {
      const at = Math.max(row.words.findIndex((word) => word.id === this.anchor), 0);
      const [from, to] = [Math.min(at, this.wordIndex), Math.max(at, this.wordIndex)];
      return [{ row, from, to, whole: from === 0 && to >= row.words.length - 1 }];
    }
    const [first, last] = [Math.min(other, this.rowIndex), Math.max(other, this.rowIndex)];
    return this.shown.filter((i) => first <= i && i <= last).map((i) => all(this.rows[i]!));
  }

  moveTo(id: string, extend = false, scroll = true): void {
    if (extend) this.anchor ??= this.cursor;
    else this.anchor = null;
    this.cursor = id;
    this.editing = this.choice = null;
    const row = this.places.get(id);
    if (scroll && row !== undefined) this.reveal?.(row);
    this.update();
  }

  moveToRow(index: number, extend = false): void {
    const row = this.rows[index];
    if (row) this.moveTo(extend && row.words.length ? row.words[row.words.length - 1]!.id : firstOf(row), extend);
  }

  /** The word that sounds at a time, or the latest one before it. */
  wordAt(ms: number): Word | null {
    const { words } = this.state;
    let latest: Word | null = null;
    for (let i = position(words, (word) => word.start <= ms) - 1, tries = 0; i >= 0 && tries < 12; i--, tries++) {
      const word = words[i]!;
      if (word.end > ms) return word;
      if (!latest || word.end > latest.end) latest = word;
    }
    return latest;
  }

  // Changes

  /** Apply an operation; the reason is shown if it does not fit. */
  change(operation: Operation | (() => Operation), said = ""): boolean {
    const time = this.row?.start ?? 0;
    try {
      this.saving.submit(typeof operation === "function" ? operation() : operation);
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      this.say(sentence(error.message), true);
      return false;
    }
    this.keepCursor(time);
    if (said) this.say(said);
    return true;
  }

  /** After a change: the cursor stays at its word, else at what is there now. */
  keepCursor(time: number): void {
    if (this.anchor !== null && !this.places.has(this.anchor)) this.anchor = null;
    if (!this.places.has(this.cursor)) {
      const i = position(this.rows, (row) => row.start < time);
      const row = this.rows[Math.min(i, this.rows.length - 1)];
      this.cursor = row ? firstOf(row) : "";
    }
    const row = this.rowIndex;
    if (row >= 0) this.reveal?.(row);
    this.update();
  }

  say(text: string, wrong = false): void {
    this.message = { text, wrong, at: Date.now() };
    this.update();
  }

  private edited(): void {
    this.version += 1;
    if (this.stale && !this.saving.waiting) void this.refreshPeople();
    if (this.saving?.lost.length) this.say(`Not applied any more: ${this.saving.lost.splice(0).join("; ")}`, true);
    if (this.cursor && this.saving && !this.places.has(this.cursor)) this.keepCursor(this.player.time);
    this.update();
  }

  private tick(ms: number): void {
    const word = this.wordAt(ms);
    this.sounding = word && word.end > ms - 250 ? word.id : "";
    for (const listener of this.ticks) listener(ms);
  }

  /** Tell who shows the page, once for all changes of one moment. */
  update(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.remember();
      for (const listener of this.listeners) listener();
    });
  }
}

export const firstOf = (row: Row): string => row.words[0]?.id ?? row.key;

export const isLow = (word: Word): boolean => word.probability !== null && word.probability < LOW;

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
