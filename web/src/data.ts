// What the server tells the page (`state.json`, or the state inside a single file), and what the page asks for.

import type { Entry } from "./history.ts";
import type { State } from "./state.ts";

export interface Doubt {
  readonly start: number;
  readonly end: number;
  readonly kind: "speaker" | "overlap" | "word" | "systems";
  readonly worth: number;
  readonly reason: string;
  readonly turn: string | null;
  readonly word: string | null;
}

export interface Candidate {
  readonly id: string;
  readonly name: string;
  readonly score: number;
  readonly llr: number | null;
  readonly runner_up: number | null; // by how much the best one leads over the next
  readonly text: string; // "LR 195", or "similarity 0.71" without a calibration
  readonly meaning: string;
}

export interface SpeakerFacts {
  readonly candidates: readonly Candidate[];
  readonly clearest: readonly { readonly start: number; readonly end: number }[];
  readonly seconds: number; // ms of speech
}

/** Two speakers who may be one person. */
export interface Pair {
  readonly a: string;
  readonly b: string;
  readonly likely: boolean; // false: only similar, as there is no calibration
  readonly text: string;
  readonly meaning: string;
}

export interface PeopleFacts {
  readonly speakers: Readonly<Record<string, SpeakerFacts>>;
  readonly problem?: string; // why something of it is not known
  readonly pairs: readonly Pair[];
  readonly pending?: boolean; // voices are being compared: ask again
}

export interface Source {
  readonly recording: {
    readonly id: string;
    readonly file: string | null;
    readonly sha256: string;
    readonly language: string | null;
    readonly duration: number;
    readonly version: string;
  };
  readonly machine: {
    readonly duration: number;
    readonly speakers: readonly { readonly id: string; readonly name: string | null }[];
    readonly turns: readonly (readonly [string, number, number, string, number | null])[];
    readonly words: readonly (readonly [string, number, number, string, string | null, number | null])[];
  };
  readonly entries: readonly Entry[];
  readonly audio: { readonly url: string; readonly type: string } | null;
  readonly peaks: { readonly url?: string; readonly data?: string; readonly rate: number } | null;
  readonly speakers?: PeopleFacts; // in a single file
  readonly lost: readonly (readonly [number, number])[];
  readonly doubts: readonly Doubt[];
  readonly certain: number;
  readonly author: string;
  readonly blind: boolean;
  readonly library: boolean;
  readonly readonly: boolean;
  readonly formats: readonly string[];
}

/** The source of this page: inside the document, or from the server. */
export async function load(root: HTMLElement): Promise<Source> {
  const inside = document.getElementById("state");
  if (inside) return JSON.parse(inside.textContent ?? "") as Source;
  const answer = await fetch(root.dataset.source ?? "state.json", { cache: "no-store" });
  if (!answer.ok) throw new Error(`The server answers ${answer.status} ${answer.statusText}.`);
  return (await answer.json()) as Source;
}

/** The state before any correction. */
export function machineState({ machine }: Source): State {
  return {
    duration: machine.duration,
    speakers: machine.speakers.map(({ id, name }) => ({ id, name, human: false })),
    turns: machine.turns.map(([id, start, end, speaker, confidence]) => ({
      id, start, end, speaker, confidence, human: false, checked: false,
    })),
    words: machine.words.map(([id, start, end, text, speaker, probability]) => ({
      id, start, end, text, speaker, probability, human: [],
    })),
    notes: [],
  };
}

/** (min, max) of each bin, interleaved. */
export async function loadPeaks({ peaks }: Source): Promise<Int8Array | null> {
  if (!peaks) return null;
  if (peaks.data !== undefined) {
    const text = atob(peaks.data);
    const bytes = new Int8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }
  const answer = await fetch(peaks.url!);
  return answer.ok ? new Int8Array(await answer.arrayBuffer()) : null;
}

export async function loadPeople(source: Source): Promise<PeopleFacts> {
  if (source.speakers) return source.speakers;
  if (source.readonly) return { speakers: {}, pairs: [] };
  const answer = await fetch("speakers.json", { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return (await answer.json()) as PeopleFacts;
}
