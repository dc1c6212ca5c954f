// The sheet of keys, a note, a name, the log.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { App } from "../app.ts";
import type { Operation } from "../check.ts";
import * as commands from "../commands.ts";
import { KEYS } from "../keys.ts";
import type { Word } from "../state.ts";
import { clock, exact, milliseconds, short } from "../text.ts";
import { Kbd, Modal } from "./parts.tsx";

export function Dialogs({ app }: { app: App }) {
  const close = (): void => {
    app.dialog = null;
    app.update();
    app.reveal?.(app.rowIndex);
  };
  if (app.dialog === "help") return <Help close={close} />;
  if (app.dialog === "log") return <Log app={app} close={close} />;
  if (app.dialog === "note") return <Ask title="Note" value="" many done={(text) => commands.note(app, text)} close={close} />;
  if (app.dialog === "times") {
    const word = app.row?.words[app.wordIndex];
    return word ? <Times app={app} word={word} close={close} /> : null;
  }
  if (app.dialog === "rename") {
    const person = app.person(app.row?.speaker ?? null);
    if (!person) return <Ask title="Nobody says this turn. Its speaker: " value="" done={(name) => commands.assign(app, { name })} close={close} />;
    return <Ask title={`Name of ${short(person.id, 40)}, everywhere`} value={person.name ?? ""} done={(name) => commands.rename(app, person.id, name)} close={close} />;
  }
  return null;
}

const SYMBOLS: Readonly<Record<string, string>> = { ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", "1-9": "1 – 9", "Shift+1-9": "Shift+1 – 9" };

const name = (key: string): string => SYMBOLS[key] ?? key.replace(/Arrow(\w+)/, (all) => SYMBOLS[all] ?? all);

function Help({ close }: { close: () => void }) {
  const groups = [...new Set(KEYS.map((key) => key.group))];
  return (
    <Modal title="Keys" close={close} wide>
      <p>A click on a word plays it. The arrows move from word to word and from turn to turn; with Shift they select.</p>
      <div class="sheet">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {KEYS.filter((key) => key.group === group).map((key) => (
                <div key={key.keys[0]}>
                  <dt>{key.keys.map((one, i) => [i ? " or " : "", <Kbd key={one}>{name(one)}</Kbd>])}</dt>
                  <dd>{key.what}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Modal>
  );
}

function Ask({ title, value, done, close, many }: { title: string; value: string; done: (text: string) => void; close: () => void; many?: boolean }) {
  const field = useRef<HTMLInputElement & HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    field.current!.focus();
    field.current!.select();
  }, []);
  const finish = (): void => {
    const text = field.current!.value;
    close();
    done(text);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.isComposing || (many && event.shiftKey)) return;
    event.preventDefault();
    finish();
  };
  return (
    <Modal title={title} close={close}>
      <div class="ask">
        {many ? <textarea ref={field} rows={3} dir="auto" aria-label={title} defaultValue={value} onKeyDown={press} />
          : <input ref={field} type="text" dir="auto" aria-label={title} defaultValue={value} onKeyDown={press} />}
        <button type="button" onClick={finish}>Save <Kbd>Enter</Kbd></button>
      </div>
    </Modal>
  );
}

const STEPS: Readonly<Record<string, number>> = { ArrowUp: 10, ArrowDown: -10, PageUp: 100, PageDown: -100 }; // ms

/** When a word begins and ends. */
function Times({ app, word, close }: { app: App; word: Word; close: () => void }) {
  const [texts, setTexts] = useState([exact(word.start), exact(word.end)] as const);
  const [problem, setProblem] = useState("");
  const first = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    first.current!.focus();
    first.current!.select();
  }, []);
  const read = (): { start: number; end: number } | null => {
    const [start, end] = texts.map(milliseconds);
    const wrong = start == null || end == null ? "Write times as 83.25 or 1:23.25." : start >= end ? "The word must end after it begins." : "";
    setProblem(wrong);
    return wrong ? null : { start: start!, end: end! };
  };
  const finish = (): void => {
    const times = read();
    if (!times) return;
    if ((times.start === word.start && times.end === word.end) || commands.timeWord(app, word, times.start, times.end)) close();
    else setProblem(app.message?.text ?? "");
  };
  const listen = (): void => {
    const times = read();
    if (times) app.player.play(times.start, times.end);
  };
  const set = (i: number, text: string): void => setTexts(i ? [texts[0], text] : [text, texts[1]]);
  const press = (event: KeyboardEvent, i: number): void => {
    const step = STEPS[event.key];
    const time = milliseconds(texts[i]!);
    if (event.isComposing) return;
    if (event.key === "Enter") finish();
    else if (step !== undefined && time !== null) set(i, exact(Math.min(Math.max(time + step, 0), app.state.duration)));
    else return;
    event.preventDefault();
  };
  return (
    <Modal title={`Times of “${short(word.text, 40)}”`} close={close}>
      <div class="times">
        {["begins", "ends"].map((what, i) => (
          <label key={what}>{what} <input ref={i ? undefined : first} type="text" value={texts[i]} size={12} onInput={(event) => set(i, event.currentTarget.value)} onKeyDown={(event) => press(event, i)} /></label>
        ))}
        {app.player.audio && <button type="button" onClick={listen}>▶ Listen</button>}
        <button type="button" onClick={finish}>Save <Kbd>Enter</Kbd></button>
      </div>
      <p class="hint">↑ and ↓ change a time by 10 ms, Page up and Page down by 100 ms. The word stays its speaker's.</p>
      <p class="problem" role="alert">{problem}</p>
    </Modal>
  );
}

function Log({ app, close }: { app: App; close: () => void }) {
  const entries = app.history.entries.slice(-500).reverse();
  return (
    <Modal title="What has been changed" close={close} wide>
      {!entries.length && <p>Nothing yet: this is what the machine wrote.</p>}
      <ol class="log" reversed>
        {entries.map((entry) => (
          <li key={entry.number} value={entry.number} class={entry.undone ? "undone" : entry.problem ? "problem" : ""}>
            <span><bdi>{entry.author}</bdi>: {describe(app, entry.operation)}</span>
            {entry.undone && <em> taken back</em>}
            {entry.problem && !entry.undone && <em> does not fit: {entry.problem}</em>}
          </li>
        ))}
      </ol>
    </Modal>
  );
}

/** An operation in a few words. */
export function describe(app: App, operation: Operation): string {
  const value = (key: string): string => short(String(operation[key] ?? "nobody"), 40);
  const who = (key: string): string => short(app.label(operation[key] as string | null), 30);
  const time = (key: string): string => clock(operation[key] as number, true);
  switch (operation.op) {
    case "name_speaker": return operation.name === null ? `${value("speaker")} has no name` : `${value("speaker")} is ${value("name")}`;
    case "add_speaker": return `new speaker ${operation.name === null ? value("speaker") : value("name")}`;
    case "merge_speakers": return `${value("from")} is ${who("into")}`;
    case "assign": return `${time("start")} to ${time("end")}: ${who("to")} and not ${who("from")}`;
    case "insert_turn": return `${time("start")} to ${time("end")}: new turn of ${who("speaker")}`;
    case "set_turn": return `a turn from ${time("start")} to ${time("end")}`;
    case "delete_turn": return "a turn deleted";
    case "check_turn": return operation.checked ? "a turn checked" : "a turn not checked any more";
    case "edit_word": return `a word written anew: ${value("text")}`;
    case "time_word": return `a word from ${time("start")} to ${time("end")}`;
    case "insert_word": return `a new word: ${value("text")}`;
    case "delete_word": return "a word deleted";
    case "note": return `note: ${value("text")}`;
    case "undo": return `takes back ${value("number")}`;
    case "redo": return `brings back ${value("number")}`;
    case "group": {
      const parts = operation.operations as Operation[];
      return parts.slice(0, 3).map((part) => describe(app, part)).join("; ") + (parts.length > 3 ? `; and ${parts.length - 3} more` : "");
    }
    default: return operation.op;
  }
}
