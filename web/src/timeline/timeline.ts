// A timeline on a canvas: drawn when something changed, moved with the mouse. Canvas and not elements, because hundreds
// of turns must follow the mouse. The transcript beside it says the same to those who do not see it.

import { firstOf, type App } from "../app.ts";
import { moveEdge } from "../changes.ts";
import type { Turn } from "../state.ts";
import { draw, fill, theme, type Preview, type Theme } from "./draw.ts";
import { Peaks } from "./peaks.ts";
import { Spectrogram } from "./spectrogram.ts";
import { AXIS, LABELS, LANE, View } from "./view.ts";

const GRIP = 6; // px from the end of a turn at which it is taken
const OVERVIEW = 34; // px, height of the overview

type Drag =
  | { kind: "edge"; turn: Turn; edge: "start" | "end"; alone: boolean; time: number }
  | { kind: "new"; speaker: string; from: number; time: number }
  | { kind: "pan"; x: number; from: number; moved: boolean }
  | { kind: "overview" };

export class Timeline {
  readonly view: View;
  private peaks: Peaks | null = null;
  private readonly spectrogram = new Spectrogram(() => this.redraw());
  private colours: Theme;
  private drag: Drag | null = null;
  private frame = 0;
  private height = 0;
  private bars: HTMLCanvasElement | null = null; // the overview without what moves
  private barsKey = "";

  constructor(
    private readonly app: App,
    private readonly canvas: HTMLCanvasElement,
    private readonly overview: HTMLCanvasElement,
  ) {
    this.view = new View(app.state.duration);
    this.colours = theme(canvas);
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(canvas.parentElement!);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = theme(canvas);
      this.barsKey = "";
      this.redraw();
    });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => ((this.drag = null), this.redraw()));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    overview.addEventListener("pointerdown", (event) => ((this.drag = { kind: "overview" }), overview.setPointerCapture(event.pointerId), this.scrub(event)));
    overview.addEventListener("pointermove", (event) => this.drag?.kind === "overview" && this.scrub(event));
    overview.addEventListener("pointerup", () => (this.drag = null));
    app.zoom = (factor) => this.zoom(factor);
    app.ticks.add((ms) => {
      if (app.player.playing && !this.drag) this.view.follow(ms);
      this.redraw();
    });
    this.resize();
  }

  zoom(factor: number): void {
    const { view, app } = this;
    const time = app.player.playing ? app.player.time : (app.row?.start ?? view.from);
    const inside = time >= view.from && time <= view.to;
    view.zoom(factor, inside ? time : (view.from + view.to) / 2);
    this.redraw();
  }

  fit(): void {
    this.view.show(0, this.app.state.duration);
    this.redraw();
  }

  /** The current row comes into view, and its lane. */
  reveal(): void {
    const { row } = this.app;
    if (!row || this.drag) return;
    if (row.start < this.view.from || row.start > this.view.to) this.view.show(row.start - 0.15 * this.view.span, this.view.span);
    const lane = this.app.person(row.speaker)?.position;
    if (lane !== undefined && this.height > this.view.top + LANE) {
      const room = this.height - this.view.top;
      const y = lane * LANE;
      if (y < this.view.lanesTop) this.view.lanesTop = y;
      else if (y + LANE > this.view.lanesTop + room) this.view.lanesTop = y + LANE - room;
    }
    this.redraw();
  }

  redraw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private resize(): void {
    const box = this.canvas.parentElement!.getBoundingClientRect();
    this.view.width = Math.max(Math.floor(box.width), 200);
    this.height = Math.max(Math.floor(box.height), 80);
    this.size(this.canvas, this.view.width, this.height);
    this.size(this.overview, this.view.width, OVERVIEW);
    this.barsKey = "";
    this.redraw();
  }

  private size(canvas: HTMLCanvasElement, width: number, height: number): void {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.getContext("2d")!.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  private draw(): void {
    const { app, view } = this;
    if (!this.peaks && app.peaks && app.source.peaks) {
      this.peaks = new Peaks(app.peaks, app.source.peaks.rate);
      this.barsKey = "";
    }
    view.spectrum = app.spectrogram;
    const most = Math.max(app.persons.length * LANE - (this.height - this.view.top), 0);
    view.lanesTop = Math.min(Math.max(view.lanesTop, 0), most);
    const context = this.canvas.getContext("2d")!;
    draw(context, app, view, this.peaks, this.spectrogram, this.height, this.preview, this.colours);
    const x = view.x(app.player.time);
    if (app.player.audio && x >= LABELS && x <= view.width) {
      context.fillStyle = this.colours.accent;
      context.fillRect(x - 1, AXIS - 6, 2, this.height);
    }
    this.drawOverview();
  }

  private drawOverview(): void {
    const { app, view } = this;
    const context = this.overview.getContext("2d")!;
    const { width } = view;
    const scale = width / Math.max(app.state.duration, 1);
    const key = `${app.version} ${width} ${this.peaks !== null}`;
    if (key !== this.barsKey || !this.bars) {
      this.bars = document.createElement("canvas");
      this.size(this.bars, width, OVERVIEW);
      const pen = this.bars.getContext("2d")!;
      pen.fillStyle = this.colours.paper;
      pen.fillRect(0, 0, width, OVERVIEW);
      if (this.peaks) {
        pen.fillStyle = this.colours.line;
        for (let x = 0; x < width; x++) {
          const [low, high] = this.peaks.between(x / scale, (x + 1) / scale);
          pen.fillRect(x, 12 - high * 11, 1, Math.max((high - low) * 11, 1));
        }
      }
      for (const turn of app.state.turns) {
        const person = app.person(turn.speaker);
        if (!person) continue;
        pen.fillStyle = fill(pen, person.look);
        pen.fillRect(turn.start * scale, 22, Math.max((turn.end - turn.start) * scale, 0.6), 11);
      }
      this.barsKey = key;
    }
    context.clearRect(0, 0, width, OVERVIEW);
    context.drawImage(this.bars, 0, 0, width, OVERVIEW);
    context.strokeStyle = this.colours.accent;
    context.lineWidth = 2;
    context.strokeRect(Math.max(view.from * scale, 1), 1, Math.max(Math.min(view.span * scale, width - 2), 3), OVERVIEW - 2);
    if (!app.player.audio) return;
    context.fillStyle = this.colours.accent;
    context.fillRect(app.player.time * scale - 1, 0, 2, OVERVIEW);
  }

  private get preview(): Preview | null {
    const { drag } = this;
    if (drag?.kind === "edge") {
      const { turn, edge, time } = drag;
      return { turn, speaker: turn.speaker, start: edge === "start" ? time : turn.start, end: edge === "end" ? time : turn.end };
    }
    if (drag?.kind === "new") {
      return { turn: null, speaker: drag.speaker, start: Math.min(drag.from, drag.time), end: Math.max(drag.from, drag.time) };
    }
    return null;
  }

  // The mouse, or a finger

  private at(event: PointerEvent | WheelEvent): { x: number; y: number; time: number; lane: number } {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const time = Math.round(Math.min(Math.max(this.view.ms(x), 0), this.app.state.duration));
    return { x, y, time, lane: y < this.view.top ? -1 : Math.floor((y - this.view.top + this.view.lanesTop) / LANE) };
  }

  private edgeAt(x: number, lane: number): { turn: Turn; edge: "start" | "end" } | null {
    const speaker = this.app.persons[lane]?.id;
    if (speaker === undefined || x < LABELS) return null;
    let nearest: { turn: Turn; edge: "start" | "end"; distance: number } | null = null;
    for (const turn of this.app.state.turns) {
      if (turn.start > this.view.to) break;
      if (turn.speaker !== speaker || turn.end < this.view.from) continue;
      for (const edge of ["start", "end"] as const) {
        const distance = Math.abs(this.view.x(turn[edge]) - x);
        if (distance <= GRIP && (!nearest || distance < nearest.distance)) nearest = { turn, edge, distance };
      }
    }
    return nearest;
  }

  private down(event: PointerEvent): void {
    if (event.button !== 0) return;
    const { x, time, lane } = this.at(event);
    this.canvas.setPointerCapture(event.pointerId);
    const edge = this.edgeAt(x, lane);
    const person = this.app.persons[lane];
    if (event.shiftKey && person && x > LABELS) this.drag = { kind: "new", speaker: person.id, from: time, time };
    else if (edge && this.view.pixel < 250) this.drag = { kind: "edge", ...edge, alone: event.altKey, time: edge.turn[edge.edge] };
    else this.drag = { kind: "pan", x, from: this.view.from, moved: false };
  }

  private move(event: PointerEvent): void {
    const { x, time, lane } = this.at(event);
    const { drag, view } = this;
    if (!drag) {
      this.canvas.style.cursor = this.edgeAt(x, lane) && view.pixel < 250 ? "ew-resize" : x > LABELS ? "pointer" : "default";
      return;
    }
    if (drag.kind === "edge") {
      drag.time = drag.edge === "start" ? Math.min(time, drag.turn.end - 10) : Math.max(time, drag.turn.start + 10);
    } else if (drag.kind === "new") drag.time = time;
    else if (drag.kind === "pan" && (drag.moved || Math.abs(x - drag.x) > 4)) {
      drag.moved = true;
      view.show(drag.from - (x - drag.x) * view.pixel, view.span);
    }
    this.redraw();
  }

  private up(event: PointerEvent): void {
    const { drag, app } = this;
    const { x, time, lane } = this.at(event);
    this.drag = null;
    if (drag?.kind === "edge") {
      const { turn, edge, alone } = drag;
      if (drag.time !== turn[edge]) app.change(() => moveEdge(app.state, app.history.draft.turn(turn.id) ?? turn, edge, drag.time, alone), "Boundary moved.");
    } else if (drag?.kind === "new") {
      const [start, end] = [Math.min(drag.from, drag.time), Math.max(drag.from, drag.time)];
      if (end - start >= 50) app.change({ op: "insert_turn", start, end, speaker: drag.speaker }, "New turn.");
    } else if (drag?.kind === "pan" && !drag.moved && x > LABELS) this.click(time, lane);
    this.redraw();
  }

  private click(time: number, lane: number): void {
    const { app } = this;
    const speaker = app.persons[lane]?.id;
    const here = app.rows.filter((row) => row.turns.some((turn) => turn.start <= time && time < turn.end) || (row.start <= time && time < row.end));
    const row = here.find((one) => one.speaker === speaker) ?? here[0];
    const word = row?.words.find((one) => one.end > time);
    if (row) app.moveTo(word?.id ?? row.words[row.words.length - 1]?.id ?? firstOf(row));
    app.player.seek(time);
  }

  private wheel(event: WheelEvent): void {
    const { x, y, time } = this.at(event);
    const { view } = this;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    if (event.ctrlKey || event.metaKey) view.zoom(Math.exp(event.deltaY * lines * 0.003), time);
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey || (x > LABELS && y < this.view.top)) {
      view.show(view.from + (event.deltaX || event.deltaY) * lines * view.pixel, view.span);
    } else if (this.app.persons.length * LANE > this.height - this.view.top) view.lanesTop += event.deltaY * lines;
    else view.show(view.from + event.deltaY * lines * view.pixel, view.span);
    this.redraw();
  }

  private scrub(event: PointerEvent): void {
    const box = this.overview.getBoundingClientRect();
    const time = ((event.clientX - box.left) / box.width) * this.app.state.duration;
    this.view.show(time - this.view.span / 2, this.view.span);
    this.redraw();
  }
}
