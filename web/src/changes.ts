// What a reviewer wants, as operations: parts of rows to other speakers, words written anew, boundaries.

import type { Operation } from "./check.ts";
import { DoesNotFit } from "./check.ts";
import { position, type State, type Turn, type Word } from "./state.ts";
import type { Row } from "./utterances.ts";

/** One operation for several, which is taken back as one. */
export function group(operations: readonly Operation[]): Operation {
  if (!operations.length) throw new DoesNotFit("nothing would change");
  return operations.length === 1 ? operations[0]! : { op: "group", operations };
}

const middle = (word: Word): number => Math.floor((word.start + word.end) / 2);

/** The time that goes with words of one row: up to the ends of their turns, or half-way to words that stay. */
export function spanOf(state: State, row: Row, from = 0, to = row.words.length - 1): { start: number; end: number } {
  if (!row.words.length) return { start: row.start, end: row.end };
  const words = row.words.slice(from, to + 1);
  let start = Math.min(...words.map((word) => word.start));
  let end = Math.max(...words.map((word) => word.end));
  if (row.speaker !== null) {
    const earlier = row.words[from - 1] ?? neighbour(state, row, -1);
    const later = row.words[to + 1] ?? neighbour(state, row, +1);
    const opening = row.turns.find((turn) => turn.start <= start && start < turn.end);
    const closing = [...row.turns].reverse().find((turn) => turn.start < end && end <= turn.end);
    if (opening) start = earlier && earlier.end > opening.start ? Math.min(start, half(earlier.end, start)) : opening.start;
    if (closing) end = later && later.start < closing.end ? Math.max(end, half(end, later.start)) : closing.end;
  }
  for (const word of words) {
    start = Math.min(start, middle(word));
    end = Math.max(end, middle(word) + 1);
  }
  return { start, end: Math.min(end, state.duration) };
}

const half = (a: number, b: number): number => Math.round((a + b) / 2);

/** The word of the same speaker before (-1) or after (+1) a row, where it is near enough to share a turn. */
function neighbour(state: State, row: Row, step: 1 | -1): Word | undefined {
  const edge = step < 0 ? row.words[0]! : row.words[row.words.length - 1]!;
  const list = state.words;
  let i = position(list, (word) => word.start < edge.start || (word.start === edge.start && word.end < edge.end));
  for (i += step; i >= 0 && i < list.length; i += step) {
    const word = list[i]!;
    if (Math.abs(word.start - edge.start) > 120_000) return undefined;
    if (word.speaker === row.speaker && !row.words.includes(word)) return word;
  }
  return undefined;
}

/** Words from .. to of a row are `speaker`'s (null: nobody's). */
export function give(state: State, row: Row, speaker: string | null, from = 0, to = row.words.length - 1): Operation {
  const { start, end } = spanOf(state, row, from, to);
  return { op: "assign", start, end, from: row.speaker, to: speaker };
}

/** An id for one more speaker: SPEAKER_06 after SPEAKER_05. */
export function nextSpeaker(state: Pick<State, "speakers">): string {
  let most = 0;
  for (const { id } of state.speakers) most = Math.max(most, Number(/^SPEAKER_(\d{1,6})$/.exec(id)?.[1] ?? 0));
  return `SPEAKER_${String(most + 1).padStart(2, "0")}`;
}

/** The words `old`, which follow each other, as `text`. Words that stay the same keep their times and probabilities. */
export function rewrite(old: readonly Word[], text: string): Operation[] {
  const texts = text.split(/\s+/).filter(Boolean);
  const operations: Operation[] = [];
  let head = 0;
  while (head < old.length && head < texts.length && old[head]!.text === texts[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < texts.length - head && old[old.length - 1 - tail]!.text === texts[texts.length - 1 - tail]) tail++;
  const words = old.slice(head, old.length - tail);
  const written = texts.slice(head, texts.length - tail);
  if (words.length && words.length === written.length) {
    words.forEach((word, i) => {
      if (word.text !== written[i]) operations.push({ op: "edit_word", word: word.id, text: written[i] });
    });
    return operations;
  }
  if (!words.length && written.length) {
    // Something is added between two words: in the pause, else in no time at their border.
    const start = head > 0 ? old[head - 1]!.end : old[0]!.start;
    const end = Math.max(start, old[head]?.start ?? start);
    return spread(written, start, end, old[0]!.speaker);
  }
  const shared = Math.min(words.length, written.length);
  for (let i = 0; i < shared - 1; i++) {
    if (words[i]!.text !== written[i]) operations.push({ op: "edit_word", word: words[i]!.id, text: written[i] });
  }
  if (!shared) return words.map((word) => ({ op: "delete_word", word: word.id }));
  if (words.length > written.length) {
    const last = words[shared - 1]!;
    if (last.text !== written[shared - 1]) operations.push({ op: "edit_word", word: last.id, text: written[shared - 1] });
    for (const word of words.slice(shared)) operations.push({ op: "delete_word", word: word.id });
    const end = Math.max(...words.slice(shared - 1).map((word) => word.end));
    if (end !== last.end) operations.push({ op: "time_word", word: last.id, start: last.start, end });
    return operations;
  }
  // More words than before: those that are left share the time of the last one.
  const last = words[shared - 1]!;
  const rest = written.slice(shared - 1);
  const edge = (i: number): number => Math.round(last.start + ((last.end - last.start) * i) / rest.length);
  if (last.text !== rest[0]) operations.push({ op: "edit_word", word: last.id, text: rest[0] });
  if (edge(1) !== last.end) operations.push({ op: "time_word", word: last.id, start: last.start, end: edge(1) });
  return [...operations, ...spread(rest.slice(1), edge(1), last.end, last.speaker)];
}

function spread(texts: readonly string[], start: number, end: number, speaker: string | null): Operation[] {
  const edge = (i: number): number => Math.round(start + ((end - start) * i) / texts.length);
  return texts.map((text, i) => ({ op: "insert_word", start: edge(i), end: edge(i + 1), text, speaker }));
}

const NEAR = 400; // ms from a turn's end to a neighbour's that moves with it

/** An end of a turn moves to `time`. Where another speaker's turn is next to it, words between change their speaker. */
export function moveEdge(state: State, turn: Turn, edge: "start" | "end", time: number, alone: boolean): Operation {
  const start = edge === "start" ? time : turn.start;
  const end = edge === "end" ? time : turn.end;
  const own: Operation = { op: "set_turn", turn: turn.id, start, end };
  if (alone) return own;
  const old = turn[edge];
  const other = state.turns.find(
    (one) => one.speaker !== turn.speaker && Math.abs((edge === "end" ? one.start : one.end) - old) <= NEAR && (edge === "end" ? one.end > time : one.start < time),
  );
  if (!other) return own;
  const shrinks = edge === "end" ? time < old : time > old;
  if (shrinks) {
    return { op: "assign", start: Math.min(time, old), end: Math.max(time, old), from: turn.speaker, to: other.speaker };
  }
  const reach = edge === "end" ? { start: other.start, end: time } : { start: time, end: other.end };
  if (reach.start >= reach.end) return own;
  const gap = edge === "end" ? other.start > turn.end : other.end < turn.start;
  const take: Operation = { op: "assign", ...reach, from: other.speaker, to: turn.speaker };
  return gap ? { op: "group", operations: [own, take] } : take;
}
