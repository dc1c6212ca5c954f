// The whole page.

import { useEffect, useReducer, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { AssignBar } from "./AssignBar.tsx";
import { Dialogs } from "./Dialogs.tsx";
import { Certainty, Header } from "./Header.tsx";
import { PlayerBar, TimelineView } from "./PlayerBar.tsx";
import { Speakers } from "./Speakers.tsx";
import { Filters, SearchBar, Transcript } from "./Transcript.tsx";

const SHOWN = 6000; // ms, of a message

export function Page({ app }: { app: App }) {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [side, setSide] = useState<"transcript" | "speakers">("transcript");
  useEffect(() => {
    const listener = (): void => redraw(undefined);
    app.listeners.add(listener);
    return () => void app.listeners.delete(listener);
  }, []);
  useEffect(() => {
    if (app.pass === "people") setSide("speakers");
    else setSide("transcript");
  }, [app.pass]);
  return (
    <div class={`page show-${side}`}>
      <Header app={app} />
      <div class="left">
        <PlayerBar app={app} />
        <TimelineView app={app} />
        <Speakers app={app} />
      </div>
      <div class="sides" role="group" aria-label="What is shown">
        <button type="button" aria-pressed={side === "transcript"} onClick={() => setSide("transcript")}>Transcript</button>
        <button type="button" aria-pressed={side === "speakers"} onClick={() => setSide("speakers")}>Speakers</button>
      </div>
      <main class="right">
        <AssignBar app={app} />
        <div class="tools"><Certainty app={app} /><Filters app={app} /></div>
        <SearchBar app={app} />
        <Transcript app={app} />
      </main>
      <Message app={app} />
      <Dialogs app={app} />
    </div>
  );
}

function Message({ app }: { app: App }) {
  const { message } = app;
  useEffect(() => {
    if (!message) return;
    const timer = setTimeout(() => {
      if (app.message === message) {
        app.message = null;
        app.update();
      }
    }, message.wrong ? 2 * SHOWN : SHOWN);
    return () => clearTimeout(timer);
  }, [message]);
  return <p class={`message${message ? " shown" : ""}${message?.wrong ? " wrong" : ""}`} role="status">{message?.text ?? ""}</p>;
}
