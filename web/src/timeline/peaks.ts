// The outline of the sound at every zoom: the server's bins, and coarser ones of eight each.

const FACTOR = 8;

interface Level {
  readonly rate: number; // bins a second
  readonly bins: Int8Array; // min and max of each, interleaved
}

export class Peaks {
  private readonly levels: Level[];

  constructor(bins: Int8Array, rate: number) {
    this.levels = [{ bins, rate }];
    for (let level = this.levels[0]!; level.bins.length > 2 * 4000; this.levels.push(level)) {
      level = { bins: coarser(level.bins), rate: level.rate / FACTOR };
    }
  }

  /** Lowest and highest value in start .. end (ms), -1 to 1. At least one bin is read, and about two at most eight. */
  between(start: number, end: number): [number, number] {
    let level = this.levels[0]!;
    for (const coarse of this.levels) {
      if (((end - start) / 1000) * coarse.rate < 1) break;
      level = coarse;
    }
    const first = Math.max(Math.floor((start / 1000) * level.rate), 0);
    const last = Math.min(Math.max(Math.ceil((end / 1000) * level.rate), first + 1), level.bins.length / 2);
    let low = 0;
    let high = 0;
    for (let i = first; i < last; i++) {
      low = Math.min(low, level.bins[2 * i]!);
      high = Math.max(high, level.bins[2 * i + 1]!);
    }
    return [low / 128, high / 127];
  }
}

function coarser(bins: Int8Array): Int8Array {
  const count = Math.ceil(bins.length / 2 / FACTOR);
  const result = new Int8Array(2 * count);
  for (let i = 0; i < bins.length / 2; i++) {
    const at = 2 * Math.floor(i / FACTOR);
    result[at] = Math.min(result[at]!, bins[2 * i]!);
    result[at + 1] = Math.max(result[at + 1]!, bins[2 * i + 1]!);
  }
  return result;
}
