// Operations go to the server one after the other, in order, each at once. What the server has not confirmed stays here
// (and in the tab's session storage, over a reload) and is sent again. What others did in between comes first: the own
// operations that wait are applied after it, with new numbers.

import { DoesNotFit, type Operation } from "./check.ts";
import type { Entry, History } from "./history.ts";

export type SavingState = "saved" | "saving" | "offline" | "refused" | "local";

interface Answer {
  readonly entries?: Entry[];
  readonly problem?: string;
  readonly index?: number;
}

export interface Transport {
  /** POST operations made after entry `after`. Throws where there is no answer. */
  post(after: number, operations: readonly Operation[]): Promise<{ status: number; answer: Answer }>;
  /** Entries after `after`, as they are written; returns how to stop. */
  listen(after: () => number, entry: (entry: Entry) => void, open: () => void): () => void;
}

export interface Memory {
  get(): string | null;
  set(value: string | null): void;
}

const MOST = 200; // operations in one request
const LARGEST = 400_000; // characters of them
const WAITS = [500, 1000, 2000, 5000]; // ms between attempts

export class Saving {
  state: SavingState = "saved";
  savedAt = 0; // ms since the epoch
  readonly lost: string[] = []; // why operations that waited could not be applied after those of others
  private confirmed: number; // entries that are in the server's log
  private pending: Operation[] = [];
  private sending = false;
  private waits = 0;
  private early: Entry[] = []; // entries that came while a request was on its way
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly history: History,
    private readonly author: string,
    private readonly transport: Transport | null, // null: a single file, nothing is sent
    private readonly memory: Memory,
    private readonly changed: () => void,
  ) {
    this.confirmed = history.length;
    if (!transport) this.state = "local";
    this.recall();
    transport?.listen(
      () => this.confirmed,
      (entry) => this.receive(entry),
      () => void (this.state === "offline" && this.flush()),
    );
    if (this.pending.length) void this.flush();
  }

  get waiting(): number {
    return this.pending.length;
  }

  /** What the user has done in a single file: operations for `diarize edit --apply`, without what was taken back. */
  get operations(): Operation[] {
    const own = this.history.entries.slice(this.confirmed);
    const numbers = new Map<number, number | null>();
    let next = this.confirmed;
    const result: Operation[] = [];
    for (const { number, operation, undone } of own) {
      const target = operation.number as number;
      const isUndo = operation.op === "undo" || operation.op === "redo";
      const skipped = isUndo ? target > this.confirmed : undone;
      numbers.set(number, skipped ? null : ++next);
      const renumbered = skipped ? null : renumber(operation, numbers, new Map());
      if (renumbered) result.push(renumbered);
    }
    return result;
  }

  /** Apply an operation here, and send it. Throws DoesNotFit, and then nothing is done. */
  submit(operation: Operation): void {
    this.history.append(this.provisional(operation));
    this.pending.push(operation);
    this.remember();
    if (this.transport) {
      if (this.state === "saved") this.state = "saving";
      void this.flush();
    }
    this.changed();
  }

  /** Send what waits, now. */
  async flush(): Promise<void> {
    if (!this.transport || this.sending || !this.pending.length) return;
    clearTimeout(this.timer);
    this.sending = true;
    const operations = portion(this.pending);
    try {
      const { status, answer } = await this.transport.post(this.confirmed, operations);
      this.sending = false;
      if (status === 200) this.accept(answer.entries ?? [], true);
      else if (status === 409) this.accept(answer.entries ?? [], false);
      else if (status === 422) {
        this.accept(answer.entries ?? [], true);
        this.drop(answer.problem ?? "the server refused it");
      } else if (status === 400 || status === 413) this.drop(answer.problem ?? `the server answers ${status}`);
      else if (status === 401 || status === 403) return this.retry("refused");
      else return this.retry("offline");
      this.waits = 0;
      for (const entry of this.early.splice(0)) this.receive(entry);
      this.state = this.pending.length ? "saving" : "saved";
      if (!this.pending.length) this.savedAt = Date.now();
      this.changed();
      if (this.pending.length) {
        if (status === 409 && !answer.entries?.length) return this.retry("offline");
        await this.flush();
      }
    } catch (error) {
      this.sending = false;
      if (error instanceof TypeError || error instanceof DOMException || error instanceof SyntaxError) this.retry("offline");
      else throw error;
    }
  }

  private retry(state: SavingState): void {
    this.state = state;
    const wait = WAITS[Math.min(this.waits++, WAITS.length - 1)]!;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.flush(), wait);
    this.early = [];
    this.changed();
  }

  /** An entry that the server tells of, whoever wrote it. */
  private receive(entry: Entry): void {
    if (entry.number <= this.confirmed) return;
    if (this.sending) this.early.push(entry);
    else if (entry.number === this.confirmed + 1) {
      this.accept([entry], false);
      if (!this.pending.length && this.state !== "local") this.state = "saved";
      this.changed();
    }
  }

  /** Entries that follow the confirmed ones: the own ones that waited, or those of others. */
  private accept(entries: readonly Entry[], own: boolean): void {
    let i = 0;
    const next = entries.filter((entry) => entry.number > this.confirmed);
    for (; i < next.length && this.pending.length; i++) {
      const entry = next[i]!;
      const isOwn = own || (entry.author === this.author && equal(entry.operation, this.pending[0]));
      if (!isOwn || entry.number !== this.confirmed + 1) break;
      this.pending.shift();
      this.confirmed += 1;
    }
    const others = next.slice(i);
    if (others.length) this.rebase(others);
    this.remember();
  }

  /** The first operation that waits can never be written. */
  private drop(problem: string): void {
    this.lost.push(problem);
    const dropped = this.confirmed + 1;
    const waiting = this.pending.slice(1);
    this.pending = [];
    this.history.truncate(this.confirmed);
    this.again(waiting, new Map([[dropped, null]]), dropped + 1);
    this.remember();
  }

  private rebase(others: readonly Entry[]): void {
    const waiting = this.pending;
    const first = this.confirmed + 1;
    this.pending = [];
    this.history.truncate(this.confirmed);
    for (const entry of others) {
      this.history.record(entry);
      this.confirmed += 1;
    }
    this.again(waiting, new Map(), first);
  }

  /** Apply operations that had the numbers from `first` on again, with the next free ones. */
  private again(waiting: readonly Operation[], numbers: Map<number, number | null>, first: number): void {
    const speakers = new Map<string, string>();
    waiting.forEach((operation, i) => {
      let renumbered = renumber(operation, numbers, speakers);
      if (renumbered) renumbered = this.freeSpeaker(renumbered, speakers);
      if (renumbered) {
        try {
          this.history.append(this.provisional(renumbered));
          this.pending.push(renumbered);
          numbers.set(first + i, this.history.length);
          return;
        } catch (error) {
          if (!(error instanceof DoesNotFit)) throw error;
          this.lost.push(error.message);
        }
      }
      numbers.set(first + i, null);
    });
  }

  /** Two people may add a speaker at the same time: the later one gets the next id. */
  private freeSpeaker(operation: Operation, speakers: Map<string, string>): Operation {
    const parts = operation.op === "group" ? (operation.operations as Operation[]) : [operation];
    for (const part of parts) {
      const id = part.op === "add_speaker" ? (part.speaker as string) : "";
      if (!id || !this.history.draft.speakers.has(id)) continue;
      let n = Number(/(\d+)$/.exec(id)?.[1] ?? 1);
      let free = id;
      while (this.history.draft.speakers.has(free)) free = `${id.replace(/_?\d+$/, "")}_${String(++n).padStart(2, "0")}`;
      speakers.set(id, free);
    }
    return speakers.size ? renumber(operation, new Map(), speakers)! : operation;
  }

  private provisional(operation: Operation): Entry {
    const time = new Date().toISOString();
    return { number: this.history.length + 1, time, author: this.author, operation, problem: "", undone: false };
  }

  private remember(): void {
    this.memory.set(this.pending.length ? JSON.stringify({ after: this.confirmed, operations: this.pending }) : null);
  }

  /** Operations that waited when the page was loaded again. */
  private recall(): void {
    const text = this.memory.get();
    if (!text) return;
    try {
      const { after, operations } = JSON.parse(text) as { after: number; operations: Operation[] };
      const later = this.history.entries.slice(after);
      while (later.length && operations.length && later[0]!.author === this.author && equal(later[0]!.operation, operations[0])) {
        later.shift();
        operations.shift();
      }
      const shift = new Map<number, number | null>();
      this.again(operations, shift, this.history.length - later.length + 1);
      this.remember();
    } catch {
      this.memory.set(null);
    }
  }
}

/** The first operations, as many as one request may have. */
function portion(operations: readonly Operation[]): Operation[] {
  const result: Operation[] = [];
  let size = 0;
  for (const operation of operations.slice(0, MOST)) {
    size += JSON.stringify(operation).length;
    if (result.length && size > LARGEST) break;
    result.push(operation);
  }
  return result;
}

const SPEAKERS = new Set(["speaker", "from", "to", "into"]);

/** An operation with other numbers of the entries that it refers to; null if it takes back one that is gone. */
export function renumber(
  operation: Operation,
  numbers: ReadonlyMap<number, number | null>,
  speakers: ReadonlyMap<string, string>,
): Operation | null {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(operation)) {
    if (key === "operations") {
      result[key] = (value as Operation[]).map((part) => renumber(part, numbers, speakers));
    } else if (key === "number" && numbers.has(value as number)) {
      const number = numbers.get(value as number)!;
      if (number === null) return null;
      result[key] = number;
    } else if ((key === "turn" || key === "word") && typeof value === "string") {
      result[key] = value.replace(/^([tw]@)(\d+)/, (all, prefix: string, number: string) => {
        const other = numbers.get(Number(number));
        return other ? `${prefix}${other}` : all;
      });
    } else result[key] = SPEAKERS.has(key) ? (speakers.get(value as string) ?? value) : value;
  }
  return result as unknown as Operation;
}

function equal(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown): string =>
    JSON.stringify(value, (_, one: unknown) =>
      one && typeof one === "object" && !Array.isArray(one) ? Object.fromEntries(Object.entries(one).sort(([x], [y]) => (x < y ? -1 : 1))) : one,
    );
  return sorted(a) === sorted(b);
}

/** The server of this page. `version`: of the transcript that the page shows. */
export const server = (version: string): Transport => ({
  async post(after, operations) {
    const answer = await fetch("operations", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ after, operations, version }),
    });
    const isJson = answer.headers.get("Content-Type")?.includes("json");
    const body = isJson ? ((await answer.json()) as Answer & { reload?: boolean }) : {};
    if (body.reload) location.reload();
    return { status: answer.status, answer: body };
  },

  listen(after, entry, open) {
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout>;
    // A browser has six connections to a server: tabs that nobody sees do not hold one.
    const seen = (): void => {
      clearTimeout(timer);
      source?.close();
      if (!document.hidden) connect();
    };
    const connect = (): void => {
      const opened = new EventSource(`events?after=${after()}&version=${encodeURIComponent(version)}`);
      source = opened;
      opened.addEventListener("reload", () => location.reload()); // processed again; what waits is kept by the tab
      opened.addEventListener("open", open);
      opened.addEventListener("entry", (event) => entry(JSON.parse((event as MessageEvent<string>).data) as Entry));
      opened.addEventListener("error", () => {
        opened.close();
        timer = setTimeout(connect, 2000);
      });
    };
    seen();
    document.addEventListener("visibilitychange", seen);
    return () => (document.removeEventListener("visibilitychange", seen), clearTimeout(timer), source?.close());
  },
});

/** Session storage of this tab, where there is one (a page from file:// may have none). */
export function tabMemory(id: string): Memory {
  const key = `diarize-review:${id}`;
  return {
    get() {
      try {
        return sessionStorage.getItem(key);
      } catch {
        return null;
      }
    },
    set(value) {
      try {
        if (value === null) sessionStorage.removeItem(key);
        else sessionStorage.setItem(key, value);
      } catch {
        // Nothing is lost by it: operations are sent again as long as the page is open.
      }
    },
  };
}
