// Draws a timeline: axis with doubts, waveform, overlaps, a lane for each speaker, the time that sounds.

import type { App, Person } from "../app.ts";
import type { Look } from "../colours.ts";
import { position, type Turn } from "../state.ts";
import { clock, short } from "../text.ts";
import { overlaps } from "../utterances.ts";
import type { Peaks } from "./peaks.ts";
import type { Spectrogram } from "./spectrogram.ts";
import { AXIS, LABELS, LANE, SPECTRUM, step, WAVE, type View } from "./view.ts";

export interface Theme {
  readonly paper: string;
  readonly ink: string;
  readonly faint: string;
  readonly line: string;
  readonly accent: string;
  readonly warn: string;
}

export function theme(element: Element): Theme {
  const style = getComputedStyle(element);
  const value = (name: string): string => style.getPropertyValue(name).trim();
  return {
    paper: value("--paper"), ink: value("--ink"), faint: value("--faint"), line: value("--line"),
    accent: value("--accent"), warn: value("--warn"),
  };
}

const tiles = new Map<string, CanvasPattern>();

/** The fill of a speaker: colour with pattern. */
export function fill(context: CanvasRenderingContext2D, { colour, pattern }: Look): string | CanvasPattern {
  if (pattern === "plain") return colour;
  const key = colour + pattern;
  const known = tiles.get(key);
  if (known) return known;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d")!;
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 8, 8);
  pen.fillStyle = pen.strokeStyle = "rgba(0, 0, 0, 0.28)";
  if (pattern === "stripes") {
    pen.lineWidth = 2;
    for (const offset of [-8, 0, 8]) {
      pen.beginPath();
      pen.moveTo(offset, 8);
      pen.lineTo(offset + 8, 0);
      pen.stroke();
    }
  } else if (pattern === "dots") {
    pen.beginPath();
    pen.arc(4, 4, 1.7, 0, 7);
    pen.fill();
  } else {
    pen.fillRect(0, 0, 4, 4);
    pen.fillRect(4, 4, 4, 4);
  }
  const filling = context.createPattern(tile, "repeat")!;
  tiles.set(key, filling);
  return filling;
}

export interface Preview {
  readonly turn: Turn | null; // whose end is being dragged; null: a new turn
  readonly speaker: string;
  readonly start: number;
  readonly end: number;
}

export function draw(context: CanvasRenderingContext2D, app: App, view: View, peaks: Peaks | null, spectrogram: Spectrogram, height: number, preview: Preview | null, colours: Theme): void {
  const { width } = view;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  axis(context, view, height, colours);
  context.save();
  context.beginPath();
  context.rect(LABELS, 0, width - LABELS, height);
  context.clip();
  wave(context, view, peaks, colours);
  if (view.spectrum) spectrogram.draw(context, view, colours);
  selection(context, app, view, height, colours);
  context.beginPath();
  context.rect(LABELS, view.top - 8, width - LABELS, height);
  context.clip();
  lanes(context, app, view, height, preview, colours);
  context.restore();
  lost(context, app, view, height, colours);
  marks(context, app, view, colours);
  labels(context, app, view, height, colours);
}

function axis(context: CanvasRenderingContext2D, view: View, height: number, colours: Theme): void {
  const distance = step(view, 70);
  context.fillStyle = colours.faint;
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.textAlign = "left";
  for (let ms = Math.ceil(view.from / distance) * distance; ms <= view.to; ms += distance) {
    const x = Math.round(view.x(ms)) + 0.5;
    context.beginPath();
    context.moveTo(x, AXIS - 4);
    context.lineTo(x, height);
    context.stroke();
    context.fillText(clock(ms, distance < 1000), x + 3, AXIS / 2);
  }
}

function wave(context: CanvasRenderingContext2D, view: View, peaks: Peaks | null, colours: Theme): void {
  if (!peaks) return;
  const middle = AXIS + WAVE / 2;
  context.fillStyle = colours.faint;
  for (let x = LABELS; x < view.width; x++) {
    const [low, high] = peaks.between(view.ms(x), view.ms(x + 1));
    const top = middle - high * (WAVE / 2);
    context.fillRect(x, top, 1, Math.max(middle - low * (WAVE / 2) - top, 1));
  }
}

function selection(context: CanvasRenderingContext2D, app: App, view: View, height: number, colours: Theme): void {
  context.fillStyle = colours.accent;
  context.globalAlpha = 0.16;
  for (const { row, from, to } of app.selection) {
    const start = row.words[from]?.start ?? row.start;
    const end = row.words[to]?.end ?? row.end;
    context.fillRect(view.x(start), AXIS, Math.max(view.x(end) - view.x(start), 2), height - AXIS);
  }
  context.globalAlpha = 1;
}

let shared: { turns: readonly Turn[]; version: number; spans: [number, number][] } | null = null;

function lanes(context: CanvasRenderingContext2D, app: App, view: View, height: number, preview: Preview | null, colours: Theme): void {
  const { turns, words } = app.state;
  if (shared?.version !== app.version) shared = { turns, version: app.version, spans: overlaps(turns) };
  context.fillStyle = colours.warn;
  for (let i = position(shared.spans, ([, end]) => end < view.from); i < shared.spans.length; i++) {
    const [start, end] = shared.spans[i]!;
    if (start > view.to) break;
    context.fillRect(view.x(start), view.top - 7, Math.max(view.x(end) - view.x(start), 1), 4);
  }
  context.save();
  context.beginPath();
  context.rect(LABELS, view.top, view.width - LABELS, height - view.top);
  context.clip();
  const current = new Set(app.row?.turns.map((turn) => turn.id));
  for (const turn of turns) {
    if (turn.start > view.to) break;
    if (turn.end < view.from || preview?.turn?.id === turn.id) continue;
    const person = app.person(turn.speaker);
    if (person) bar(context, view, height, person, turn.start, turn.end, current.has(turn.id), turn.checked, colours);
  }
  const person = preview && app.person(preview.speaker);
  if (preview && person) bar(context, view, height, person, preview.start, preview.end, true, false, colours);
  if (view.pixel < 12) {
    context.textAlign = "left";
    for (let i = position(words, (word) => word.start < view.from - 5000); i < words.length; i++) {
      const word = words[i]!;
      if (word.start > view.to) break;
      const speaker = app.person(word.speaker);
      const room = view.x(word.end) - view.x(word.start);
      if (!speaker || room < 6) continue;
      const y = view.top + speaker.position * LANE - view.lanesTop + LANE / 2;
      if (y < view.top - LANE || y > height + LANE) continue;
      context.save();
      context.beginPath();
      context.rect(view.x(word.start), y - LANE / 2, room, LANE);
      context.clip();
      context.fillStyle = speaker.look.ink;
      if (speaker.look.pattern !== "plain") {
        context.fillStyle = speaker.look.colour;
        context.fillRect(view.x(word.start), y - 8, Math.min(context.measureText(word.text).width + 3, room), 16);
        context.fillStyle = speaker.look.ink;
      }
      context.fillText(short(word.text, 30), view.x(word.start) + 1, y);
      context.restore();
    }
  }
  context.restore();
}

function bar(
  context: CanvasRenderingContext2D, view: View, height: number, person: Person, start: number, end: number,
  current: boolean, checked: boolean, colours: Theme,
): void {
  const y = view.top + person.position * LANE - view.lanesTop + 3;
  if (y < view.top - LANE || y > height) return;
  const x = view.x(start);
  const size = Math.max(view.x(end) - x, 1);
  context.fillStyle = fill(context, person.look);
  context.fillRect(x, y, size, LANE - 6);
  if (current) {
    context.strokeStyle = colours.ink;
    context.lineWidth = 2;
    context.strokeRect(x + 1, y, Math.max(size - 2, 1), LANE - 6);
  }
  if (checked && size > 14) {
    context.strokeStyle = person.look.ink;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x + size - 12, y + 10);
    context.lineTo(x + size - 9, y + 14);
    context.lineTo(x + size - 4, y + 6);
    context.stroke();
  }
}

function lost(context: CanvasRenderingContext2D, app: App, view: View, height: number, colours: Theme): void {
  for (const [start, end] of app.source.lost) {
    if (end < view.from || start > view.to) continue;
    const x = Math.max(view.x(start), LABELS);
    const size = Math.max(Math.min(view.x(end), view.width) - x, 2);
    context.save();
    context.beginPath();
    context.rect(x, AXIS, size, height - AXIS);
    context.clip();
    context.strokeStyle = colours.warn;
    context.lineWidth = 1;
    context.beginPath();
    for (let offset = -height; offset < size; offset += 9) {
      context.moveTo(x + offset, height);
      context.lineTo(x + offset + height, 0);
    }
    context.stroke();
    if (size > 60) {
      context.fillStyle = colours.paper;
      context.fillRect(x + 4, AXIS + WAVE / 2 - 9, 52, 18);
      context.fillStyle = colours.warn;
      context.textAlign = "left";
      context.fillText("no sound", x + 6, AXIS + WAVE / 2);
    }
    context.restore();
  }
}

/** Doubts of the pass, as marks on the axis. */
function marks(context: CanvasRenderingContext2D, app: App, view: View, colours: Theme): void {
  context.fillStyle = colours.warn;
  for (const { start, end } of app.doubts.left(app.pass === "people" ? "turns" : app.pass)) {
    if (end < view.from || start > view.to) continue;
    const x = view.x((start + end) / 2);
    if (x < LABELS) continue;
    context.beginPath();
    context.moveTo(x - 4, AXIS - 6);
    context.lineTo(x + 4, AXIS - 6);
    context.lineTo(x, AXIS);
    context.fill();
  }
}

function labels(context: CanvasRenderingContext2D, app: App, view: View, height: number, colours: Theme): void {
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, LABELS - 1, height);
  context.fillStyle = colours.faint;
  context.textAlign = "left";
  context.font = "11px system-ui, sans-serif";
  if (view.spectrum) {
    context.fillText("8 kHz", 6, AXIS + WAVE + 7);
    context.fillText("4 kHz", 6, AXIS + WAVE + SPECTRUM / 2);
    context.fillText("0", 6, AXIS + WAVE + SPECTRUM - 7);
  }
  context.fillText("overlap", 6, view.top - 5);
  context.save();
  context.beginPath();
  context.rect(0, view.top, LABELS, height - view.top);
  context.clip();
  for (const person of app.persons) {
    const y = view.top + person.position * LANE - view.lanesTop;
    if (y < view.top - LANE || y > height) continue;
    context.fillStyle = fill(context, person.look);
    context.fillRect(6, y + 4, 22, LANE - 8);
    context.fillStyle = person.look.colour;
    context.fillRect(9, y + 6, 16, LANE - 12);
    context.fillStyle = person.look.ink;
    context.font = "bold 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(person.initials, 17, y + LANE / 2 + 1);
    context.fillStyle = person.id === app.row?.speaker ? colours.ink : colours.faint;
    context.font = `${person.id === app.row?.speaker ? "bold " : ""}12px system-ui, sans-serif`;
    context.textAlign = "left";
    context.fillText(short(person.label, 14), 33, y + LANE / 2 + 1, LABELS - 36);
  }
  context.restore();
}
