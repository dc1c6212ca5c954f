// The sound: play from a word, pause with a short rewind, speed with the pitch kept, loop.

const REWIND = 0.7; // s that are repeated after a pause
export const SPEEDS = [0.5, 0.6, 0.75, 0.9, 1, 1.15, 1.3, 1.5, 1.75, 2] as const;

export class Player {
  readonly audio: HTMLAudioElement | null;
  loop: { start: number; end: number } | null = null; // ms
  problem = "";
  private until: number | null = null; // ms; stop there
  private next: { start: number; end: number }[] = []; // what follows at `until`
  private frame = 0;

  constructor(
    url: string | null,
    private readonly tick: (ms: number) => void,
    private readonly changed: () => void,
  ) {
    this.audio = url === null ? null : new Audio();
    if (!this.audio) return;
    this.audio.preload = "auto";
    this.audio.preservesPitch = true;
    this.audio.src = url!;
    this.audio.hidden = true;
    document.body.append(this.audio);
    for (const event of ["play", "pause", "ratechange", "ended"]) this.audio.addEventListener(event, () => this.update());
    this.audio.addEventListener("seeked", () => this.tick(this.time));
    this.audio.addEventListener("error", () => {
      this.problem = "The recording cannot be played in this browser.";
      this.changed();
    });
  }

  get time(): number {
    return (this.audio?.currentTime ?? 0) * 1000;
  }

  get playing(): boolean {
    return this.audio !== null && !this.audio.paused;
  }

  get speed(): number {
    return this.audio?.playbackRate ?? 1;
  }

  seek(ms: number): void {
    if (this.audio) this.audio.currentTime = ms / 1000;
    this.tick(ms);
  }

  /** Play from `start` (ms), to `end` if there is one. */
  play(start: number, end: number | null = null): void {
    if (!this.audio) return;
    this.until = end;
    this.next = [];
    if (this.loop && (start < this.loop.start || start >= this.loop.end)) this.loop = null;
    this.audio.currentTime = start / 1000;
    this.start();
  }

  /** Play spans (ms), one after the other. */
  playAll(spans: readonly { start: number; end: number }[]): void {
    const [first, ...next] = spans;
    if (!first) return;
    this.loop = null;
    this.play(first.start, first.end);
    this.next = next;
  }

  toggle(): void {
    if (!this.audio) return;
    this.until = null;
    this.next = [];
    if (this.playing) this.audio.pause();
    else {
      const back = Math.max(this.audio.currentTime - REWIND, 0);
      if (this.audio.currentTime > REWIND) this.audio.currentTime = back;
      this.start();
    }
  }

  pause(): void {
    this.audio?.pause();
  }

  faster(steps: number): void {
    if (!this.audio) return;
    const i = SPEEDS.findIndex((speed) => speed >= this.speed);
    this.audio.playbackRate = SPEEDS[Math.min(Math.max(i + steps, 0), SPEEDS.length - 1)]!;
  }

  private start(): void {
    this.audio!.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.problem = "The browser does not play the recording. Press the play button once.";
      this.changed();
    });
  }

  private update(): void {
    cancelAnimationFrame(this.frame);
    this.changed();
    if (this.playing) this.follow();
    else this.tick(this.time);
  }

  private follow(): void {
    this.frame = requestAnimationFrame(() => {
      const time = this.time;
      if (this.loop && time >= this.loop.end) this.audio!.currentTime = this.loop.start / 1000;
      else if (this.until !== null && time >= this.until) {
        const span = this.next.shift();
        this.until = span?.end ?? null;
        if (span) this.audio!.currentTime = span.start / 1000;
        else this.audio!.pause();
      }
      this.tick(time);
      if (this.playing) this.follow();
    });
  }
}
