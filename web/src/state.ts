// A transcript as people correct it. The same nouns as diarize/corrections/state.py; times are whole milliseconds.

export interface Word {
  readonly id: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly speaker: string | null;
  readonly probability: number | null;
  readonly human: readonly string[]; // what a person decided: text, time, speaker, or new (all of it)
}

export interface Turn {
  readonly id: string;
  readonly start: number;
  readonly end: number;
  readonly speaker: string;
  readonly human: boolean; // a person decided its speaker or an end of it
  readonly checked: boolean; // a person says that it is right
  readonly confidence: number | null;
}

export interface Speaker {
  readonly id: string;
  readonly name: string | null;
  readonly human: boolean; // a person gave the name, or added the speaker
}

export interface Note {
  readonly id: string;
  readonly text: string;
  readonly start: number | null;
  readonly end: number | null;
}

export interface State {
  readonly duration: number;
  readonly speakers: readonly Speaker[];
  readonly turns: readonly Turn[]; // by start
  readonly words: readonly Word[]; // by start
  readonly notes: readonly Note[];
}

export type Item = Turn | Word;

export const isWord = (item: Item): item is Word => "text" in item;

/** The order of turns and of words: by start, end and id, as `Draft.freeze` in Python. */
export function before(a: Item, b: Item): number {
  return a.start - b.start || a.end - b.end || a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** The first position of a sorted list whose item is not before `key`. */
export function position<T>(list: readonly T[], isBefore: (item: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(list[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
