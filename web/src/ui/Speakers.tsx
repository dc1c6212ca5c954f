// The speakers: name, time, their clearest speech, who they may be, which of them may be one person.

import { useState } from "preact/hooks";
import type { App, Person } from "../app.ts";
import * as commands from "../commands.ts";
import type { Candidate } from "../data.ts";
import { length, percent, plural, short } from "../text.ts";
import { Badge, Kbd } from "./parts.tsx";

const FIRST = 40; // that are shown before somebody asks for all

export function Speakers({ app }: { app: App }) {
  const [all, setAll] = useState(false);
  const { persons } = app;
  const total = persons.reduce((sum, one) => sum + one.time, 0);
  const shown = all ? persons : persons.slice(0, FIRST);
  return (
    <section class="speakers" aria-label="Speakers" data-part="speakers">
      <h2>Speakers <small>{app.persons.filter((one) => one.name !== null).length} of {app.persons.length} named</small></h2>
      {!app.source.blind && <Pairs app={app} />}
      {app.people?.problem && <p class="hint">{app.people.problem}</p>}
      {app.people?.pending && <p class="hint" role="status">Voices are being compared …</p>}
      <ul>
        {shown.map((person) => <Card key={person.id} app={app} person={person} share={total ? person.time / total : 0} />)}
      </ul>
      {!all && persons.length > FIRST && <button type="button" onClick={() => setAll(true)}>Show all {persons.length.toLocaleString("en")}</button>}
    </section>
  );
}

function Card({ app, person, share }: { app: App; person: Person; share: number }) {
  const facts = app.people?.speakers[person.id];
  const [typed, setTyped] = useState<string | null>(null);
  const name = (value: string): void => {
    setTyped(null);
    commands.rename(app, person.id, value);
  };
  return (
    <li class={person.id === app.row?.speaker ? "card current" : "card"}>
      <div class="who">
        <Badge person={person} />
        {person.digit && <Kbd>{person.digit}</Kbd>}
        <input
          id={`name-${person.position}`} type="text" value={typed ?? person.name ?? ""} placeholder={`${short(person.id, 24)}: type the name`} dir="auto"
          aria-label={`Name of ${short(person.id, 40)}`} spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.isComposing) return;
            if (event.key === "Enter") {
              name(event.currentTarget.value);
              const next = app.persons.find((one) => one.position > person.position && one.name === null);
              const field = next && document.getElementById(`name-${next.position}`);
              if (field) field.focus();
              else document.querySelector<HTMLElement>(".transcript")?.focus();
            } else if (event.key === "Escape") {
              setTyped(null);
              event.currentTarget.value = person.name ?? "";
              document.querySelector<HTMLElement>(".transcript")?.focus();
            }
          }}
          onBlur={(event) => typed !== null && name(event.currentTarget.value)}
        />
      </div>
      <div class="more">
      <p class="facts">
        {length(person.time)} ({percent(share)}), {plural(person.turns, "turn")}
        {person.human && person.name !== null && <span class="tag human">by a person</span>}
      </p>
      <div class="actions">
        {facts?.clearest.length && app.player.audio ? (
          <button type="button" aria-label={`Listen to the clearest speech of ${person.label}`} onClick={() => app.player.playAll(facts.clearest)}>
            ▶ Listen ({Math.round(facts.clearest.reduce((sum, { start, end }) => sum + end - start, 0) / 1000)} s)
          </button>
        ) : null}
        <select
          aria-label={`${person.label} is the same person as`} value=""
          onChange={(event) => {
            const into = event.currentTarget.value;
            event.currentTarget.value = "";
            if (into) app.change({ op: "merge_speakers", from: person.id, into }, `${short(person.label, 20)} is ${short(app.label(into), 20)} now. Ctrl+Z takes it back.`);
          }}
        >
          <option value="">same as …</option>
          {app.persons.length <= 200 && app.persons.filter((one) => one.id !== person.id).map((one) => <option key={one.id} value={one.id}>{one.label.slice(0, 60)}</option>)}
        </select>
        {app.source.library && <Enrol app={app} person={person} />}
      </div>
      </div>
      {facts && facts.candidates.length > 0 && (person.name === null || app.source.blind) && (
        <p class="candidates">
          {person.name === null ? "Maybe: " : "By the voice: "}
          {facts.candidates.slice(0, 3).map((one) => (
            <button
              type="button" key={one.id} onClick={() => name(one.name)} title={reasons(one)} aria-label={`${person.label} is ${one.name}, ${one.text}`}
              aria-pressed={person.name === null ? undefined : one.name === person.name}
            >
              <bdi>{short(one.name, 24)}</bdi> <small>{one.text}</small>
            </button>
          ))}
        </p>
      )}
    </li>
  );
}

const reasons = ({ meaning, llr, runner_up }: Candidate): string => {
  if (runner_up === null) return `${meaning}.`;
  const lead = llr === null ? `by ${runner_up.toFixed(2)}` : `by log10 ${(runner_up / Math.LN10).toFixed(2)}`;
  return `${meaning}. It leads over the next one ${lead}.`;
};

/** Clusters that may be one person, best first. */
function Pairs({ app }: { app: App }) {
  const pairs = (app.people?.pairs ?? []).filter(({ a, b }) => app.person(a) && app.person(b)).slice(0, app.pass === "people" ? 5 : 0);
  if (!pairs.length) return null;
  const measured = pairs.every(({ likely }) => likely);
  const listen = (id: string): void => {
    app.player.playAll(app.people?.speakers[id]?.clearest ?? []);
  };
  return (
    <ul class="pairs" aria-label="Speakers that may be one person">
      {!measured && <li class="hint">The most similar voices. Without a calibration the number alone does not say whether they are one person: listen.</li>}
      {pairs.slice(0, measured ? 5 : 3).map(({ a, b, likely, text, meaning }) => (
        <li key={`${a} ${b}`}>
          {likely && "One person?"} <small title={meaning}>{text}</small>
          {[a, b].map((id) => <button type="button" key={id} onClick={() => listen(id)} aria-label={`Listen to ${app.label(id)}`}>▶ <bdi>{short(app.label(id), 16)}</bdi></button>)}
          <button type="button" onClick={() => app.change({ op: "merge_speakers", from: b, into: a }, `${short(app.label(b), 20)} is ${short(app.label(a), 20)} now. Ctrl+Z takes it back.`)}>{likely ? "Yes, merge" : "Merge"}</button>
        </li>
      ))}
    </ul>
  );
}

function Enrol({ app, person }: { app: App; person: Person }) {
  const [consent, setConsent] = useState("");
  const [answer, setAnswer] = useState("");
  const [sending, setSending] = useState(false);
  const ready = consent.trim() !== "" && person.name !== null && !sending;
  const send = async (): Promise<void> => {
    if (!ready) return;
    setSending(true);
    setAnswer("…");
    try {
      const response = await fetch("enrol", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ speaker: person.id, name: person.name, consent: consent.trim() }),
      });
      const body = (await response.json()) as { message?: string; problem?: string };
      setAnswer(body.message ?? body.problem ?? `The server answers ${response.status}.`);
      if (!response.ok) return;
      setConsent("");
      void app.refreshPeople(); // who was enrolled is a candidate of others
    } catch {
      setAnswer("Not enrolled: the server does not answer.");
    } finally {
      setSending(false);
    }
  };
  return (
    <details class="enrol">
      <summary>Enrol</summary>
      <p>
        Stores the voice of {short(person.label, 30)}, so that later recordings name this person. Turns that a person has corrected or checked are
        used alone, if they are long enough.
      </p>
      <label>
        Consent (when, how, by whom)
        <input
          type="text" value={consent} onInput={(event) => setConsent(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && !event.isComposing && void send()}
        />
      </label>
      <button type="button" disabled={!ready} onClick={() => void send()}>
        {person.name === null ? "Give a name first" : "Enrol"}
      </button>
      <p role="status">{answer}</p>
    </details>
  );
}
