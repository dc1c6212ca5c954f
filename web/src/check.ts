// Which fields an operation has. As FIELDS and `check` of diarize/corrections/operations.py.

export type Operation = { readonly op: string; readonly [field: string]: unknown };

/** An operation cannot be applied to this state; the message says why. */
export class DoesNotFit extends Error {}

type Kind = "text" | "ms" | "bool" | "list" | "null";

export const FIELDS: Readonly<Record<string, Readonly<Record<string, readonly Kind[]>>>> = {
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
  group: { operations: ["list"] },
};

const IS: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  text: (value) => typeof value === "string",
  ms: (value) => Number.isInteger(value),
  bool: (value) => typeof value === "boolean",
  list: Array.isArray,
  null: (value) => value === null,
};

/** A value in messages, as Python's repr writes it. */
export function quoted(value: unknown): string {
  const text = plain(value);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return quote + text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("'", quote === "'" ? "\\'" : "'") + quote;
}

export function plain(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  return typeof value === "string" || typeof value === "number" ? String(value) : JSON.stringify(value);
}

const has = (object: object, key: string): boolean => Object.prototype.hasOwnProperty.call(object, key);

/** The operation, if it has the fields of its kind and no others. Throws DoesNotFit. */
export function check(operation: unknown): Operation {
  if (typeof operation !== "object" || operation === null || Array.isArray(operation)) {
    throw new DoesNotFit(`not an operation: ${plain(operation).slice(0, 80)}`);
  }
  const values = operation as Record<string, unknown>;
  const op = values.op;
  if (typeof op !== "string" || !has(FIELDS, op)) throw new DoesNotFit(`not an operation: ${plain(operation).slice(0, 80)}`);
  const fields = FIELDS[op]!;
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
    const parts = values.operations as unknown[];
    if (!parts.length) throw new DoesNotFit("a group without operations");
    for (const part of parts) if (check(part).op === "group") throw new DoesNotFit("a group inside a group");
  }
  return values as unknown as Operation;
}
