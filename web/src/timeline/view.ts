// Which time a timeline shows, and where things are in it. Pixels are CSS pixels.

export const LABELS = 92; // width of the names at the left
export const AXIS = 20;
export const WAVE = 64;
export const LANE = 26;
export const SPECTRUM = 96; // height of the spectrogram, where it is shown
const CLOSEST = 400; // ms, of the closest zoom: a syllable or two

export class View {
  from = 0; // ms
  to: number;
  width = 600;
  lanesTop = 0; // px that are scrolled away
  spectrum = false; // whether the spectrogram is beneath the waveform

  constructor(private readonly duration: number) {
    this.to = Math.max(Math.min(duration, 30_000), CLOSEST);
  }

  /** Of the first lane; the strip of overlaps is above it. */
  get top(): number {
    return topOf(this.spectrum);
  }

  get span(): number {
    return this.to - this.from;
  }

  x(ms: number): number {
    return LABELS + ((ms - this.from) / this.span) * (this.width - LABELS);
  }

  ms(x: number): number {
    return this.from + ((x - LABELS) / Math.max(this.width - LABELS, 1)) * this.span;
  }

  /** ms of one pixel. */
  get pixel(): number {
    return this.span / Math.max(this.width - LABELS, 1);
  }

  show(from: number, span: number): void {
    const most = Math.max(this.duration, CLOSEST);
    const size = Math.min(Math.max(span, CLOSEST), most);
    this.from = Math.min(Math.max(from, 0), most - size);
    this.to = this.from + size;
  }

  zoom(factor: number, around: number): void {
    const span = Math.min(Math.max(this.span * factor, CLOSEST), Math.max(this.duration, CLOSEST));
    const share = (around - this.from) / this.span;
    this.show(around - share * span, span);
  }

  /** Scroll so that a time is in view; a page at a time where it runs out at the right. */
  follow(ms: number): boolean {
    if (ms >= this.from && ms <= this.to - 0.02 * this.span) return false;
    this.show(ms - 0.1 * this.span, this.span);
    return true;
  }
}

export const topOf = (spectrum: boolean): number => AXIS + WAVE + (spectrum ? SPECTRUM : 0) + 8;

const STEPS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000];

/** Distance of the marks on the axis, so that they are at least `room` pixels apart. */
export function step(view: View, room: number): number {
  return STEPS.find((one) => one / view.pixel >= room) ?? 7_200_000;
}
