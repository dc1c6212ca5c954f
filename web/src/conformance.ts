// What becomes of a list of operations, as an author enters them: the counterpart of tests/corrections/random_lists.py.

import { DoesNotFit, type Operation } from "./check.ts";
import { History } from "./history.ts";
import type { State } from "./state.ts";

export interface Case {
  readonly title: string;
  readonly state: State;
  readonly operations: readonly unknown[];
}

export interface Outcome {
  readonly problems: string[];
  readonly conflicts: Record<string, string>;
  readonly expected: State;
}

export function replayed(example: Case): Outcome {
  const history = new History(example.state);
  const problems: string[] = [];
  for (const operation of example.operations) {
    const number = history.length + 1;
    try {
      history.append({ number, time: "", author: "anna", operation: operation as Operation, problem: "", undone: false });
      problems.push("");
    } catch (error) {
      if (!(error instanceof DoesNotFit)) throw error;
      problems.push(error.message);
    }
  }
  const conflicts: Record<string, string> = {};
  for (const entry of history.entries) if (entry.problem) conflicts[entry.number] = entry.problem;
  return { problems, conflicts, expected: history.draft.freeze() };
}
