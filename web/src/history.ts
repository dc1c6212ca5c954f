// The entries of a log, applied to the machine's state. As diarize/corrections/history.py; an entry is taken back by
// going back to it, and forth again without it, instead of replaying all of them.

import { check, DoesNotFit, plain, type Operation } from "./check.ts";
import { Draft, type Patch } from "./operations.ts";
import type { State } from "./state.ts";

export interface Entry {
  readonly number: number;
  readonly time: string;
  readonly author: string;
  readonly operation: Operation;
  readonly problem: string; // why it does not fit; "": it does
  readonly undone: boolean;
}

interface Step {
  readonly entry: Entry;
  readonly blocked: string; // why it can never be applied to this transcript; "": it can
  problem: string;
  patch: Patch | null;
}

const isUndo = (operation: Operation): boolean => operation.op === "undo" || operation.op === "redo";

export class History {
  readonly draft: Draft;
  private readonly steps: Step[] = [];
  private readonly undone = new Set<number>();

  constructor(state: State, entries: readonly Entry[] = []) {
    this.draft = new Draft(state);
    for (const { operation } of entries) this.mark(operation);
    for (const entry of entries) {
      const step: Step = { entry, blocked: "", problem: "", patch: null };
      this.redoStep(step);
      // It fits here, but not where translations are known: the transcript was made again, and it lost its place.
      if (entry.problem && !step.problem && !isUndo(entry.operation) && !this.undone.has(entry.number)) {
        if (step.patch) this.draft.revert(step.patch);
        this.steps.push({ ...step, patch: null, problem: entry.problem, blocked: entry.problem });
      } else this.steps.push(step);
    }
  }

  get length(): number {
    return this.steps.length;
  }

  /** Entries with what became of them. */
  get entries(): Entry[] {
    return this.steps.map(({ entry, problem }) => ({ ...entry, problem, undone: this.undone.has(entry.number) }));
  }

  entry(number: number): Entry | undefined {
    return this.steps[number - 1]?.entry;
  }

  /** Append an entry whose number is the next one. Throws DoesNotFit, and then nothing is changed. */
  append(entry: Entry): void {
    const operation = this.check(entry.operation);
    if (!isUndo(operation)) {
      const patch = this.draft.apply(operation, entry.number);
      this.steps.push({ entry, blocked: "", problem: "", patch });
      return;
    }
    const target = operation.number as number;
    const after = this.steps.splice(target - 1);
    this.rollBack(after);
    this.mark(operation);
    this.replay(after);
    this.steps.push({ entry, blocked: "", problem: "", patch: null });
  }

  /** Append an entry that is in the log already, whether it fits or not. */
  record(entry: Entry): void {
    try {
      this.append(entry);
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      this.steps.push({ entry, blocked: "", problem: entry.problem || error.message, patch: null });
    }
  }

  /** Remove the entries after `number`; the last ones first. */
  truncate(number: number): void {
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
  reach(author: string): { undo: number[]; redo: number[] } {
    const undo: number[] = [];
    let redo: number[] = [];
    for (const { entry, problem } of this.steps) {
      if (entry.author !== author) continue;
      const target = entry.operation.number as number;
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
  private check(operation: Operation): Operation {
    if (!isUndo(operation)) return check(operation);
    const number = operation.number;
    const target = Number.isInteger(number) ? this.steps[(number as number) - 1] : undefined;
    if (Object.keys(operation).length !== 2 || !target) {
      throw new DoesNotFit(`there is no operation ${plain(number)} to ${operation.op}`);
    }
    if (isUndo(target.entry.operation)) throw new DoesNotFit(`operation ${number} is itself an undo or redo`);
    if (this.undone.has(number as number) === (operation.op === "undo")) {
      throw new DoesNotFit(`operation ${number} is ${operation.op === "undo" ? "taken back already" : "in effect"}`);
    }
    return operation;
  }

  private mark(operation: Operation): void {
    if (operation.op === "undo") this.undone.add(operation.number as number);
    else if (operation.op === "redo") this.undone.delete(operation.number as number);
  }

  private rollBack(steps: readonly Step[]): void {
    for (let i = steps.length - 1; i >= 0; i--) {
      const step = steps[i]!;
      if (step.patch) this.draft.revert(step.patch);
      step.patch = null;
    }
  }

  private replay(steps: readonly Step[]): void {
    for (const step of steps) {
      this.redoStep(step);
      this.steps.push(step);
    }
  }

  private redoStep(step: Step): void {
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
}

function remove(list: number[], value: number): void {
  const i = list.lastIndexOf(value);
  if (i >= 0) list.splice(i, 1);
}
