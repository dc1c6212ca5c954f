// The rows of the transcript: speaker blocks of words (as Transcript.utterances in diarize/types.py), and turns that
// have no words.

import { position, type State, type Turn, type Word } from "./state.ts";

const PAUSE = 1000; // ms without a word that end a block
const OVERLAP = 200; // ms of somebody else's turn from which a row counts as overlapped

export interface Row {
  readonly key: string; // id of its first word, or of its turn
  readonly start: number;
  readonly end: number;
  readonly speaker: string | null;
  readonly words: readonly Word[];
  readonly turns: readonly Turn[]; // of its speaker, in its time
  readonly overlap: boolean;
}

/** Speaker blocks, by start. */
export function blocks(words: readonly Word[]): Word[][] {
  const result: Word[][] = [];
  const current = new Map<string | null, { block: Word[]; end: number }>();
  const latest = new Map<string | null, number>(); // speaker -> latest start of their words that have ended
  let running: Word[] = [];
  let first: { speaker: string | null; start: number } = { speaker: null, start: -1 }; // the largest of `latest`,
  let second = -1; // and the largest of another speaker
  for (const word of words) {
    if (running.some((one) => one.end <= word.start)) {
      for (const one of running) {
        if (one.end > word.start) continue;
        const start = Math.max(one.start, latest.get(one.speaker) ?? -1);
        latest.set(one.speaker, start);
        if (one.speaker === first.speaker || first.start < 0) first = { speaker: one.speaker, start: Math.max(start, first.start) };
        else if (start >= first.start) {
          second = first.start;
          first = { speaker: one.speaker, start };
        } else second = Math.max(second, start);
      }
      running = running.filter((one) => one.end > word.start);
    }
    running.push(word);
    const own = current.get(word.speaker);
    if (own && word.start - own.end < PAUSE && (first.speaker === word.speaker ? second : first.start) < own.end) {
      own.block.push(word);
      own.end = Math.max(own.end, word.end);
    } else {
      const block = [word];
      current.set(word.speaker, { block, end: word.end });
      result.push(block);
    }
  }
  return result;
}

/** Rows of the transcript, by start. */
export function rowsOf(state: Pick<State, "turns" | "words">): Row[] {
  const bySpeaker = new Map<string, Turn[]>();
  for (const turn of state.turns) {
    const own = bySpeaker.get(turn.speaker);
    if (own) own.push(turn);
    else bySpeaker.set(turn.speaker, [turn]);
  }
  const spoken = new Set<string>();
  const rows: Row[] = blocks(state.words).map((words) => {
    const first = words[0]!;
    let end = first.end;
    for (const word of words) end = Math.max(end, word.end);
    const own = first.speaker === null ? [] : (bySpeaker.get(first.speaker) ?? []);
    const turns = within(own, first.start, Math.max(end, first.start + 1));
    for (const turn of turns) spoken.add(turn.id);
    return { key: first.id, start: first.start, end, speaker: first.speaker, words, turns, overlap: false };
  });
  for (const turn of state.turns) {
    if (spoken.has(turn.id)) continue;
    rows.push({ key: turn.id, start: turn.start, end: turn.end, speaker: turn.speaker, words: [], turns: [turn], overlap: false });
  }
  rows.sort((a, b) => a.start - b.start || a.end - b.end);
  const shared = overlaps(state.turns);
  const ends = shared.map((span) => span[1]);
  return rows.map((row) => {
    const i = position(ends, (end) => end <= row.start);
    const span = shared[i];
    return span && Math.min(span[1], row.end) - Math.max(span[0], row.start) >= Math.min(OVERLAP, row.end - row.start)
      ? { ...row, overlap: true }
      : row;
  });
}

/** Turns of one speaker (sorted; they may overlap) in start .. end. */
function within(turns: readonly Turn[], start: number, end: number): Turn[] {
  let i = position(turns, (turn) => turn.start < end);
  const result: Turn[] = [];
  while (i > 0 && turns[i - 1]!.end > start) result.unshift(turns[--i]!);
  return result;
}

/** Where two or more speak: sorted, disjoint spans of at least OVERLAP ms. */
export function overlaps(turns: readonly Turn[]): [number, number][] {
  const spans: [number, number][] = [];
  let running: Turn[] = [];
  for (const turn of turns) {
    running = running.filter((one) => one.end > turn.start);
    let end = turn.start;
    for (const one of running) if (one.speaker !== turn.speaker) end = Math.max(end, Math.min(one.end, turn.end));
    running.push(turn);
    if (end <= turn.start) continue;
    const last = spans[spans.length - 1];
    if (last && last[1] >= turn.start) last[1] = Math.max(last[1], end);
    else spans.push([turn.start, end]);
  }
  return spans.filter(([start, end]) => end - start >= OVERLAP);
}
