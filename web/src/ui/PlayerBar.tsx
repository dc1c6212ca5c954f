// Play, time, speed; and the timeline with its overview.

import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app.ts";
import * as commands from "../commands.ts";
import { clock } from "../text.ts";
import { Timeline } from "../timeline/timeline.ts";
import { LANE, topOf } from "../timeline/view.ts";
import { Kbd } from "./parts.tsx";

export function PlayerBar({ app }: { app: App }) {
  const { player } = app;
  const time = useRef<HTMLElement>(null);
  useEffect(() => {
    const show = (ms: number): void => {
      const text = clock(ms, true);
      if (time.current && time.current.textContent !== text) time.current.textContent = text;
    };
    show(player.time);
    app.ticks.add(show);
    return () => void app.ticks.delete(show);
  }, []);
  if (!player.audio) return <p class="player none">The sound is not here: only its transcript.</p>;
  return (
    <div class="player" role="group" aria-label="Player" data-part="player">
      <button type="button" class="play" aria-label={player.playing ? "Pause" : "Play"} onClick={() => player.toggle()}>
        <span aria-hidden="true">{player.playing ? "❚❚" : "▶"}</span> {player.playing ? "Pause" : "Play"} <Kbd>Space</Kbd>
      </button>
      <span class="time"><b ref={time}>0:00.0</b> of {clock(app.state.duration)}</span>
      <span class="speed">
        <button type="button" aria-label="Slower" onClick={() => player.faster(-1)}>− <Kbd>,</Kbd></button>
        <output aria-label="Speed">{player.speed}×</output>
        <button type="button" aria-label="Faster" onClick={() => player.faster(1)}>+ <Kbd>.</Kbd></button>
      </span>
      <button type="button" aria-pressed={player.loop !== null} onClick={() => commands.loopRow(app)}>Repeat <Kbd>l</Kbd></button>
      {player.problem && <span class="problem" role="alert">{player.problem}</span>}
    </div>
  );
}

export function TimelineView({ app }: { app: App }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const overview = useRef<HTMLCanvasElement>(null);
  const timeline = useRef<Timeline | null>(null);
  useEffect(() => {
    timeline.current = new Timeline(app, canvas.current!, overview.current!);
  }, []);
  useEffect(() => timeline.current?.redraw());
  useEffect(() => timeline.current?.reveal(), [app.cursor, app.version]);
  const label = `Timeline: a lane for each of ${app.persons.length} speakers over the waveform. The transcript says the same.`;
  return (
    <section class="timeline" aria-label="Timeline">
      <div class="lanes" style={{ "--lanes": `${topOf(app.spectrogram) + LANE * app.persons.length + 4}px` }}><canvas ref={canvas} role="img" aria-label={label} /></div>
      <canvas ref={overview} class="overview" role="img" aria-label="Overview of the whole recording" />
      <div class="zoom">
        <button type="button" aria-label="Zoom out" onClick={() => timeline.current?.zoom(2)}>− <Kbd>-</Kbd></button>
        <button type="button" aria-label="Zoom in" onClick={() => timeline.current?.zoom(0.5)}>+ <Kbd>=</Kbd></button>
        <button type="button" onClick={() => timeline.current?.fit()}>Whole recording</button>
        {app.hasSpectrogram && <button type="button" aria-pressed={app.spectrogram} onClick={() => commands.toggleSpectrogram(app)}>Spectrogram <Kbd>x</Kbd></button>}
        <span class="hint">Drag the end of a turn to move it. Shift+drag: a new turn.</span>
      </div>
    </section>
  );
}
