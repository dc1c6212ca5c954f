// Title, the three passes, what is certain, whether everything is saved, export.

import type { App } from "../app.ts";
import * as commands from "../commands.ts";
import type { Pass } from "../doubts.ts";
import { percent, plural, short } from "../text.ts";
import { Kbd } from "./parts.tsx";

export function Header({ app }: { app: App }) {
  const { recording } = app.source;
  return (
    <header class="top" data-part="header">
      <h1 title={recording.id}><bdi>{short(recording.file ?? recording.id, 60)}</bdi></h1>
      {app.source.blind && <span class="tag blind" title="Names, scores and unsure words of the machine are hidden until you have named a speaker; nothing can be exported.">blind review</span>}
      <Passes app={app} />
      <Saved app={app} />
      <Export app={app} />
      <button type="button" onClick={() => ((app.dialog = "help"), app.update())}>Keys <Kbd>?</Kbd></button>
    </header>
  );
}

function Passes({ app }: { app: App }) {
  const named = app.persons.filter((one) => one.name !== null).length;
  const passes: [Pass, string, string][] = [
    ["people", "Who they are", `${named} of ${app.persons.length} named`],
    ["turns", "Turns", left(app, "turns")],
    ["words", "Words", left(app, "words")],
  ];
  return (
    <nav class="passes" aria-label="Passes">
      {passes.map(([pass, title, state], i) => (
        <button type="button" key={pass} aria-pressed={app.pass === pass} onClick={() => commands.setPass(app, pass)}>
          <b>{i + 1} {title}</b>
          <small>{state}</small>
        </button>
      ))}
    </nav>
  );
}

const left = (app: App, pass: Pass): string => {
  const count = app.doubts.left(pass).length;
  return count ? `${plural(count, "doubt")} left` : "no doubts left";
};

function Saved({ app }: { app: App }) {
  const { state, waiting } = app.saving;
  const texts = {
    saved: "Saved",
    saving: "Saving…",
    offline: `Not saved: the server does not answer. ${plural(waiting, "change")} waiting; keep this page open.`,
    refused: `Not saved: this address is not valid any more. Open the one that “diarize review” printed; ${plural(waiting, "change")} waiting.`,
    local: waiting ? `${plural(waiting, "change")} in this page only` : "Read-only file: changes can be downloaded",
  };
  return (
    <div class={`saved ${state}`} role="status" data-state={state} data-waiting={waiting} data-number={app.history.length}>
      <span aria-hidden="true">{state === "saved" ? "✓" : state === "saving" ? "…" : "!"}</span> {texts[state]}
      {state === "local" && waiting > 0 && <button type="button" onClick={() => download(app)}>Download corrections</button>}
    </div>
  );
}

/** Operations, one a line, as `diarize edit --apply` reads them. */
export function corrections(app: App): string {
  return app.saving.operations.map((operation) => `${JSON.stringify(operation)}\n`).join("");
}

function download(app: App): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([corrections(app)], { type: "application/jsonl" }));
  link.download = `${app.source.recording.id.replace(/[^\w.-]+/g, "_")}.corrections.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function Export({ app }: { app: App }) {
  if (app.source.readonly || !app.source.formats.length) return null;
  return (
    <details class="menu">
      <summary>Export</summary>
      <ul>
        {app.source.formats.map((format) => (
          <li key={format}><a href={`export/${encodeURIComponent(format)}`} download>{format}</a></li>
        ))}
      </ul>
    </details>
  );
}

/** "12 doubts left, 94 % of the speech is certain" */
export function Certainty({ app }: { app: App }) {
  const pass = app.pass === "words" ? "words" : "turns";
  const count = app.doubts.left(pass).length;
  const current = app.doubts.current;
  return (
    <p class="certainty">
      <button type="button" onClick={() => commands.nextDoubt(app, 1)} disabled={app.pass !== "people" && !count}>
        {app.pass === "people" ? "Next without a name" : "Next doubt"} <Kbd>d</Kbd>
      </button>
      <span>
        {plural(count, "doubt")} left, {percent(app.doubts.certain)} of the speech is certain.
        {current && app.pass !== "people" && !app.source.blind ? <em> Here: {current.reason}.</em> : null}
      </span>
    </p>
  );
}
