// Which rows of a long list are in view. Heights are estimated until a row has been shown, then measured.

import { position } from "./state.ts";

export class Heights {
  private heights: Float64Array;
  private tops: Float64Array;
  private known = new Map<string, number>(); // key -> measured height
  private dirty = true;
  private keys: readonly string[] = [];

  constructor() {
    this.heights = new Float64Array(0);
    this.tops = new Float64Array(1);
  }

  /** The list has these rows now. */
  set(keys: readonly string[], estimate: (i: number) => number): void {
    this.keys = keys;
    this.heights = Float64Array.from(keys, (key, i) => this.known.get(key) ?? estimate(i));
    this.dirty = true;
  }

  /** The height of a row on the screen; how much it differs from what was assumed. */
  measure(i: number, height: number): number {
    const difference = height - this.heights[i]!;
    this.known.set(this.keys[i]!, height);
    if (Math.abs(difference) < 0.5) return 0;
    this.heights[i] = height;
    this.dirty = true;
    return difference;
  }

  /** Another width: measured heights hold no more. */
  forget(): void {
    this.known.clear();
  }

  top(i: number): number {
    if (this.dirty) {
      this.tops = new Float64Array(this.heights.length + 1);
      for (let k = 0; k < this.heights.length; k++) this.tops[k + 1] = this.tops[k]! + this.heights[k]!;
      this.dirty = false;
    }
    return this.tops[Math.min(Math.max(i, 0), this.heights.length)]!;
  }

  get total(): number {
    return this.top(this.heights.length);
  }

  /** First row and the row after the last one that are in view. */
  range(scroll: number, room: number, more: number): [number, number] {
    this.top(0);
    const tops = this.tops.subarray(1) as unknown as readonly number[];
    const first = position(tops, (bottom) => bottom <= scroll - more);
    const last = position(tops, (bottom) => bottom <= scroll + room + more);
    return [first, Math.min(last + 1, this.heights.length)];
  }
}
