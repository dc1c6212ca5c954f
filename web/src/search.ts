// The list shows only the rows in view, so the browser's own search cannot see the transcript: this one can.

import type { App } from "./app.ts";
import { group, rewrite } from "./changes.ts";
import type { Operation } from "./check.ts";
import type { Word } from "./state.ts";
import { folded } from "./text.ts";

export interface Match {
  readonly row: number;
  readonly from: number; // words of the row
  readonly to: number;
}

export class Search {
  open = false;
  query = "";
  replacement = "";
  index = -1;
  private cache: { version: number; query: string; matches: Match[]; words: Set<string> } | null = null;

  constructor(private readonly app: App) {}

  get matches(): Match[] {
    return this.results.matches;
  }

  /** Ids of words that are part of a match. */
  get words(): ReadonlySet<string> {
    return this.results.words;
  }

  private get results(): { matches: Match[]; words: Set<string> } {
    const query = this.open ? folded(this.query.trim().replace(/\s+/g, " ")) : "";
    if (this.cache?.version === this.app.version && this.cache.query === query) return this.cache;
    const matches = query ? this.app.rows.flatMap((row, i) => find(row.words, query).map(([from, to]) => ({ row: i, from, to }))) : [];
    const words = new Set(matches.flatMap(({ row, from, to }) => this.app.rows[row]!.words.slice(from, to + 1).map((word) => word.id)));
    this.cache = { version: this.app.version, query, matches, words };
    return this.cache;
  }

  set(query: string): void {
    this.query = query;
    this.index = -1;
    this.go(1);
  }

  /** To the next (1) or the previous (-1) match. */
  go(step: 1 | -1): void {
    const { matches } = this;
    if (!matches.length) return this.app.update();
    if (this.index < 0) {
      const here = this.app.rowIndex;
      this.index = Math.max(matches.findIndex((match) => match.row >= here), 0);
    } else this.index = (this.index + step + matches.length) % matches.length;
    const match = matches[this.index]!;
    this.app.moveTo(this.app.rows[match.row]!.words[match.from]!.id);
  }

  replaceOne(): void {
    const { index } = this;
    const match = this.matches[index];
    if (!match) return this.go(1);
    if (!this.app.change(() => group(this.operations(match)), "Replaced.")) return;
    const next = this.matches[index];
    this.index = next && next.row === match.row && next.from === match.from ? index : index - 1;
    this.go(1);
  }

  replaceAll(): void {
    const { matches } = this;
    const operations = matches.flatMap((match) => this.operations(match));
    this.app.change(() => group(operations), `Replaced in ${matches.length} places. Ctrl+Z takes it back.`);
    this.index = -1;
    this.app.update();
  }

  private operations({ row, from, to }: Match): Operation[] {
    const words = this.app.rows[row]!.words.slice(from, to + 1);
    const text = words.map((word) => word.text).join(" ");
    return rewrite(words, replaceFolded(text, folded(this.query.trim().replace(/\s+/g, " ")), this.replacement));
  }
}

/** Words from .. to whose text, joined with blanks, has the query; matches do not share words. */
export function find(words: readonly Word[], query: string): [number, number][] {
  const starts: number[] = [];
  let text = "";
  for (const word of words) {
    if (text) text += " ";
    starts.push(text.length);
    text += folded(word.text);
  }
  const result: [number, number][] = [];
  for (let at = text.indexOf(query), free = 0; at >= 0; at = text.indexOf(query, free)) {
    const wordAt = (offset: number): number => {
      let i = 0;
      while (i + 1 < starts.length && starts[i + 1]! <= offset) i++;
      return i;
    };
    const [from, to] = [wordAt(at), wordAt(at + query.length - 1)];
    result.push([from, to]);
    free = starts[to + 1] ?? text.length + 1;
    if (free > text.length) break;
  }
  return result;
}

/** Replace the query in a text, whatever its case there. */
export function replaceFolded(text: string, query: string, replacement: string): string {
  const low = folded(text);
  const at = low.length === text.length ? low.indexOf(query) : -1;
  return at < 0 ? replacement : text.slice(0, at) + replacement + text.slice(at + query.length);
}
