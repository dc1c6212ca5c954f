// "Whose is this turn?": every speaker with the digit that answers, and a field for a name.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { App, Person } from "../app.ts";
import * as commands from "../commands.ts";
import { folded, plural, short } from "../text.ts";
import { Badge, Kbd } from "./parts.tsx";

const MOST = 9;

export function AssignBar({ app }: { app: App }) {
  const { choice, row } = app;
  const answer = (target: string | null): void => (choice ? commands.choose(app, target) : commands.assign(app, target));
  return (
    <section class={`assign${choice ? " asking" : ""}`} aria-label="Who speaks" data-part="assign">
      <p class="question" aria-live="polite">{choice ? choice.title : question(app)}{!choice?.named && <span> Press its key:</span>}</p>
      {choice?.named ? <NameField app={app} kind={choice.named} /> : (
        <div class="chips">
          {app.persons.slice(0, MOST).map((person) => (
            <button
              type="button" key={person.id} class="chip" aria-pressed={!choice && person.id === row?.speaker}
              title={choice ? undefined : `${person.label} says it. Shift+${person.digit}: all of ${app.label(row?.speaker ?? null)} is ${person.label}`}
              onClick={(event) => (event.shiftKey && !choice ? commands.assignCluster(app, person.id) : answer(person.id))}
            >
              <Kbd>{person.digit}</Kbd><Badge person={person} /><bdi>{short(person.label, 18)}</bdi>
            </button>
          ))}
          <button type="button" class="chip" onClick={() => commands.askName(app, "any")}>
            <Kbd>/</Kbd>{app.persons.length > MOST ? `type a name (${app.persons.length - MOST} more)` : "type a name"}
          </button>
          <button type="button" class="chip" onClick={() => commands.askName(app, "new")}><Kbd>n</Kbd>somebody new</button>
          <button type="button" class="chip" aria-pressed={!choice && row?.speaker === null} onClick={() => answer(null)}><Kbd>0</Kbd>nobody</button>
          {!choice && row?.speaker != null && (
            <button type="button" class="chip" onClick={() => ((app.dialog = "rename"), app.update())}>
              <Kbd>r</Kbd>{app.person(row.speaker)?.name == null ? "name" : "rename"} <bdi>{short(app.label(row.speaker), 18)}</bdi> everywhere
            </button>
          )}
          {choice && <button type="button" class="chip" onClick={() => commands.clear(app)}><Kbd>Esc</Kbd>leave it</button>}
        </div>
      )}
    </section>
  );
}

function question(app: App): string {
  const { selection } = app;
  if (!selection.length) return "No turn is selected.";
  if (selection.length > 1) return `Whose are these ${selection.length} turns?`;
  const { row, from, to, whole } = selection[0]!;
  if (app.anchor === null || whole) return "Whose is this turn?";
  return to > from ? `Whose are these ${plural(to - from + 1, "word")}?` : `Whose is “${short(row.words[from]!.text, 20)}”?`;
}

interface Option {
  readonly person: Person | null; // null: new
  readonly text: string;
}

function NameField({ app, kind }: { app: App; kind: "any" | "new" }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current!.focus(), [kind]); // before the next key is pressed
  const query = folded(text.trim());
  const matching = kind === "new" ? [] : app.persons.filter((one) => folded(one.label).includes(query));
  matching.sort((a, b) => Number(!folded(a.label).startsWith(query)) - Number(!folded(b.label).startsWith(query)));
  const options: Option[] = matching.slice(0, 8).map((person) => ({ person, text: person.label }));
  const exact = matching.some((one) => folded(one.label) === query);
  if (!exact && (query || kind === "new")) options.push({ person: null, text: text.trim() ? `somebody new: ${text.trim()}` : "somebody new, without a name" });
  const chosen = Math.min(at, options.length - 1);
  const back = (): void => document.querySelector<HTMLElement>(".transcript")?.focus({ preventScroll: true });
  const done = (option: Option | undefined): void => {
    if (!option) return;
    back();
    commands.choose(app, option.person ? option.person.id : { name: text });
    app.reveal?.(app.rowIndex);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    if (event.key === "Enter") done(options[chosen]);
    else if (event.key === "Escape") {
      back();
      app.choice = null;
      app.update();
      app.reveal?.(app.rowIndex);
    } else if (event.key === "ArrowDown") setAt(Math.min(chosen + 1, options.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(chosen - 1, 0));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="namefield">
      <input
        ref={field} type="text" value={text} dir="auto" role="combobox" aria-expanded="true" aria-controls="names" aria-label="Name of the speaker"
        aria-activedescendant={options.length ? `option-${chosen}` : undefined} onKeyDown={press}
        onInput={(event) => (setText(event.currentTarget.value), setAt(0))}
      />
      <ul id="names" role="listbox" aria-label="Speakers">
        {options.map((option, i) => (
          <li key={option.person?.id ?? ""} id={`option-${i}`} role="option" aria-selected={i === chosen} onMouseDown={(event) => (event.preventDefault(), done(option))}>
            <Badge person={option.person} /> <bdi>{short(option.text, 60)}</bdi> {i === chosen && <kbd>Enter</kbd>}
          </li>
        ))}
      </ul>
    </div>
  );
}
