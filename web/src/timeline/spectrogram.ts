// The spectrogram of what a timeline shows: asked of the server when the view rests, kept while the page is open.

import type { Theme } from "./draw.ts";
import { AXIS, LABELS, SPECTRUM, WAVE, type View } from "./view.ts";

export const LONGEST = 60_000; // ms that the server computes at once
const WIDEST = 4096; // columns
const PAUSE = 150; // ms without a movement until the server is asked
const MOST = 24; // pictures in memory; of 1,000 columns each is 128 kB
const RANGE = 60; // dB from the darkest to the brightest
const DECIBELS = 110 / 255; // of one step of a value

export interface Part {
  readonly start: number; // ms
  readonly end: number;
  readonly width: number; // columns
}

interface Picture extends Part {
  readonly values: Uint8Array; // bands x width, lowest band first
  readonly canvas: HTMLCanvasElement;
  colours: string; // in which the canvas is painted
}

/** The part that a view shows, in columns of the screen; null where it is too long for a spectrogram. */
export function partOf(view: Pick<View, "from" | "span" | "width">, ratio: number): Part | null {
  const start = Math.max(Math.round(view.from), 0);
  const span = Math.round(view.span);
  if (span > LONGEST) return null;
  return { start, end: start + span, width: Math.min(Math.max(Math.round((view.width - LABELS) * ratio), 1), WIDEST) };
}

/** Four bytes a value: from `low` to `high` over the `RANGE` below the loudest values. Grey of sRGB is even to the eye. */
export function paint(values: Uint8Array, width: number, low: readonly number[], high: readonly number[]): Uint8ClampedArray<ArrayBuffer> {
  const counts = new Uint32Array(256);
  for (const value of values) counts[value]! += 1;
  let top = 255;
  for (let above = counts[top]!; above < values.length / 500 && top > 0; above += counts[top]!) top -= 1;
  const steps = RANGE / DECIBELS;
  const bottom = Math.max(top, steps) - steps;
  const palette = Array.from({ length: 256 }, (_, value) => {
    const share = Math.min(Math.max((value - bottom) / steps, 0), 1);
    return [0, 1, 2].map((i) => low[i]! + share * (high[i]! - low[i]!));
  });
  const pixels = new Uint8ClampedArray(4 * values.length);
  const bands = values.length / width;
  for (let band = 0; band < bands; band++) {
    for (let x = 0, at = 4 * (bands - 1 - band) * width; x < width; x++, at += 4) {
      const colour = palette[values[band * width + x]!]!;
      pixels[at] = colour[0]!;
      pixels[at + 1] = colour[1]!;
      pixels[at + 2] = colour[2]!;
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}

export class Spectrogram {
  private readonly pictures = new Map<string, Picture>(); // the oldest first
  private shown: Picture | null = null;
  private wanted = "";
  private part: Part | null = null;
  private timer = 0;
  private busy = false;
  private problem: { key: string; text: string } | null = null;

  constructor(private readonly redraw: () => void) {}

  draw(context: CanvasRenderingContext2D, view: View, colours: Theme): void {
    const part = partOf(view, devicePixelRatio || 1);
    if (!part) {
      this.want("", null);
      return write(context, view, "Zoom in to see the spectrogram: it shows at most a minute.", colours);
    }
    const key = `${part.start} ${part.end} ${part.width}`;
    this.want(key, part);
    const exact = this.pictures.get(key);
    this.shown = exact ?? this.shown;
    const picture = this.shown;
    if (picture && picture.end > view.from && picture.start < view.to) {
      this.colour(context, picture, colours);
      const x = view.x(picture.start);
      context.drawImage(picture.canvas, x, AXIS + WAVE, view.x(picture.end) - x, SPECTRUM);
    } else if (this.problem?.key !== key) write(context, view, "The spectrogram is computed …", colours);
    if (this.problem?.key === key) write(context, view, this.problem.text, colours);
  }

  private want(key: string, part: Part | null): void {
    if (key === this.wanted) return;
    this.wanted = key;
    this.part = part;
    this.problem = null;
    clearTimeout(this.timer);
    if (part && !this.pictures.has(key)) this.timer = setTimeout(() => void this.load(), PAUSE) as unknown as number;
  }

  /** One request at a time; what is wanted when it ends is asked next. */
  private async load(): Promise<void> {
    const { wanted: key, part } = this;
    if (this.busy || !part || this.pictures.has(key) || this.problem?.key === key) return;
    this.busy = true;
    try {
      const answer = await fetch(`spectrogram?start=${part.start}&end=${part.end}&width=${part.width}`);
      if (!answer.ok) {
        const { problem } = (await answer.json()) as { problem?: string };
        throw new Error(problem ?? `the server answers ${answer.status}`);
      }
      this.keep(key, { ...part, values: new Uint8Array(await answer.arrayBuffer()), canvas: document.createElement("canvas"), colours: "" });
    } catch (error) {
      this.problem = { key, text: `No spectrogram: ${error instanceof Error ? error.message : String(error)}` };
    }
    this.busy = false;
    this.redraw();
    if (this.wanted !== key) void this.load();
  }

  private keep(key: string, picture: Picture): void {
    this.pictures.set(key, picture);
    for (const oldest of this.pictures.keys()) {
      if (this.pictures.size <= MOST) break;
      this.pictures.delete(oldest);
    }
  }

  private colour(context: CanvasRenderingContext2D, picture: Picture, { paper, ink }: Theme): void {
    if (picture.colours === paper + ink) return;
    const { canvas, values, width } = picture;
    canvas.width = width;
    canvas.height = values.length / width;
    const pixels = paint(values, width, channels(context, paper), channels(context, ink));
    canvas.getContext("2d")!.putImageData(new ImageData(pixels, width), 0, 0);
    picture.colours = paper + ink;
  }
}

function write(context: CanvasRenderingContext2D, view: View, text: string, colours: Theme): void {
  context.textAlign = "left";
  const y = AXIS + WAVE + SPECTRUM / 2;
  context.fillStyle = colours.paper;
  context.fillRect(LABELS + 4, y - 10, Math.min(context.measureText(text).width + 8, view.width - LABELS - 8), 20);
  context.fillStyle = colours.faint;
  context.fillText(text, LABELS + 8, y, view.width - LABELS - 16);
}

/** Red, green and blue of a colour, 0 to 255. */
function channels(context: CanvasRenderingContext2D, colour: string): number[] {
  context.fillStyle = colour; // read back as #rrggbb
  return [1, 3, 5].map((at) => parseInt(String(context.fillStyle).slice(at, at + 2), 16));
}
