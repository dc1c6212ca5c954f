// Places that are worth a look, best first, and which of them a person has looked at.

import type { App } from "./app.ts";
import type { Doubt } from "./data.ts";

export type Pass = "people" | "turns" | "words";

export class Doubts {
  private at: Doubt | null = null;

  constructor(private readonly app: App) {}

  /** Of a pass, best first, without those that a person has decided. */
  left(pass: Pass): Doubt[] {
    if (pass === "people") return [];
    return this.app.source.doubts.filter((doubt) => (doubt.kind === "word") === (pass === "words") && !this.settled(doubt));
  }

  get current(): Doubt | null {
    return this.at && !this.settled(this.at) ? this.at : null;
  }

  /** The part of the speech about whose speaker there is no doubt. */
  get certain(): number {
    const seconds = (list: readonly Doubt[]) => list.reduce((sum, { start, end }) => sum + end - start, 0);
    const all = this.app.source.doubts.filter((doubt) => doubt.kind !== "word");
    const open = all.length ? seconds(this.left("turns")) / seconds(all) : 0;
    return 1 - (1 - this.app.source.certain) * open;
  }

  next(pass: Pass, step: 1 | -1): Doubt | null {
    const all = this.app.source.doubts;
    const left = this.left(pass);
    if (!left.length) return (this.at = null);
    const i = this.at ? all.indexOf(this.at) : step > 0 ? -1 : all.length;
    const later = step > 0 ? left.find((one) => all.indexOf(one) > i) : [...left].reverse().find((one) => all.indexOf(one) < i);
    return (this.at = later ?? left[step > 0 ? 0 : left.length - 1]!);
  }

  /** A person decided it: the turn is checked or changed, the word written or checked. */
  private settled(doubt: Doubt): boolean {
    const { draft } = this.app.history;
    if (doubt.word !== null) {
      const word = draft.word(doubt.word);
      if (!word || word.human.some((what) => what !== "time")) return true;
      const row = this.app.rows[this.app.rowOf(word.id)];
      return row !== undefined && row.turns.length > 0 && row.turns.every((turn) => turn.checked);
    }
    if (doubt.turn !== null) {
      const turn = draft.turn(doubt.turn);
      if (turn) return turn.checked || (turn.human && !(turn.start <= doubt.start && doubt.end <= turn.end));
    }
    const turns = this.app.state.turns.filter((turn) => turn.start < doubt.end && doubt.start < turn.end);
    return turns.length > 0 && turns.every((turn) => turn.checked || turn.human);
  }
}
