// The transcript: a virtual list of rows. The word that sounds is marked without drawing anything anew.

import { Component } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef } from "preact/hooks";
import { firstOf, isLow, type App, type Person } from "../app.ts";
import * as commands from "../commands.ts";
import type { Word } from "../state.ts";
import { clock, plural } from "../text.ts";
import type { Row } from "../utterances.ts";
import { Heights } from "../virtual.ts";
import { Badge } from "./parts.tsx";

const MORE = 400; // px that are drawn above and below

export function Transcript({ app }: { app: App }) {
  const list = useRef<HTMLDivElement>(null);
  const heights = useRef(new Heights()).current;
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const seen = useRef<{ key: string; width: number }>({ key: "", width: 600 });
  const focusRow = useRef(false);

  const { shown, rows } = app;
  const key = `${app.version} ${JSON.stringify(app.filter)} ${seen.current.width}`;
  if (seen.current.key !== key) {
    seen.current.key = key;
    const letters = Math.max(seen.current.width - 60, 200) / 7.6; // in a line
    heights.set(
      shown.map((i) => rows[i]!.key),
      (k) => 44 + 25 * Math.max(Math.ceil(rows[shown[k]!]!.words.reduce((sum, word) => sum + word.text.length + 1, 0) / letters), 1),
    );
  }

  const frame = useRef(0);
  const drawn = useRef<[number, number]>([0, 0]);
  const onScroll = (): void => {
    if (frame.current) return;
    frame.current = requestAnimationFrame(() => {
      frame.current = 0;
      const { scrollTop, clientHeight } = list.current!;
      const [first, last] = heights.range(scrollTop, clientHeight, MORE / 2);
      if (first < drawn.current[0] || last > drawn.current[1]) redraw(undefined); // the rows that are there do not suffice
    });
  };

  const scroll = list.current?.scrollTop ?? 0;
  const room = list.current?.clientHeight ?? 800;
  const [first, last] = heights.range(scroll, room, MORE);
  drawn.current = [first, last];

  useLayoutEffect(() => {
    const element = list.current!;
    let shift = 0;
    let changed = false;
    for (const row of element.querySelectorAll<HTMLElement>("[data-at]")) {
      const i = Number(row.dataset.at);
      const top = heights.top(i);
      const difference = heights.measure(i, row.getBoundingClientRect().height);
      if (difference) changed = true;
      if (top < element.scrollTop) shift += difference;
    }
    if (Math.abs(shift) >= 1) element.scrollTop += shift;
    if (changed) redraw(undefined);
    if (focusRow.current) {
      const current = element.querySelector<HTMLElement>('[aria-current="true"]');
      if (current && document.activeElement !== current) current.focus({ preventScroll: true });
      if (current) focusRow.current = false;
    }
    mark(element, app.sounding);
  });

  useEffect(() => {
    const element = list.current!;
    app.reveal = (row) => {
      const i = app.shown.indexOf(row);
      if (i < 0) return;
      focusRow.current = element.contains(document.activeElement) || document.activeElement === document.body;
      requestAnimationFrame(() => {
        const top = heights.top(i);
        const bottom = heights.top(i + 1);
        const margin = Math.min(70, element.clientHeight / 6);
        if (top < element.scrollTop + margin) element.scrollTop = top - margin;
        else if (bottom > element.scrollTop + element.clientHeight - margin) {
          element.scrollTop = Math.min(top - margin, bottom - element.clientHeight + margin);
        }
        redraw(undefined);
      });
    };
    const resized = new ResizeObserver(() => {
      if (Math.abs(element.clientWidth - seen.current.width) > 1) {
        seen.current.width = element.clientWidth;
        heights.forget();
      }
      redraw(undefined);
    });
    resized.observe(element);
    const tick = (): void => {
      mark(element, app.sounding);
      if (!app.player.playing || !app.sounding) return;
      const row = app.rowOf(app.sounding);
      const i = app.shown.indexOf(row);
      if (i < 0 || row === followed) return;
      followed = row;
      const top = heights.top(i);
      if (top < element.scrollTop || heights.top(i + 1) > element.scrollTop + element.clientHeight) element.scrollTop = top - 70;
    };
    let followed = -1;
    app.ticks.add(tick);
    if (app.rowIndex > 0) app.reveal(app.rowIndex); // where the tab was before it was loaded again
    return () => (resized.disconnect(), void app.ticks.delete(tick));
  }, []);

  const press = (event: MouseEvent): void => {
    const target = event.target as HTMLElement;
    if (target.closest("input, button")) return;
    const word = target.closest<HTMLElement>("[data-id]")?.dataset.id;
    const row = target.closest<HTMLElement>("[data-row]")?.dataset.row;
    if (!word && !row) return;
    const id = word ?? firstOf(app.rows[app.rowOf(row!)] ?? app.rows[0]!);
    app.moveTo(id, event.shiftKey, false);
    if (word && !event.shiftKey) commands.playHere(app);
  };

  const { selection } = app;
  const selected = new Map(selection.map((part) => [part.row.key, part]));
  return (
    <div
      ref={list} class="transcript" role="feed" aria-label="Transcript" data-part="transcript" data-tab-plays tabIndex={-1}
      aria-busy="false" onScroll={onScroll} onClick={press}
      onDblClick={(event) => (event.target as HTMLElement).closest("[data-id]") && commands.editWords(app, false)}
    >
      {!shown.length && <p class="empty">{rows.length ? "No turn passes the filters." : "The transcript is empty."}</p>}
      <div class="all" style={{ height: `${heights.total}px` }}>
        <div class="window" style={{ transform: `translateY(${heights.top(first)}px)` }}>
          {shown.slice(first, last).map((index, k) => {
            const row = rows[index]!;
            const current = index === app.rowIndex;
            const part = selected.get(row.key);
            return (
              <RowView
                key={row.key} app={app} row={row} at={first + k} count={shown.length} version={app.version} current={current}
                from={part ? part.from : -1} to={part ? part.to : -1} chosen={app.anchor !== null && part !== undefined}
                cursor={current ? app.cursor : ""} query={app.search.open ? app.search.query : ""}
                editing={app.editing?.row === row.key ? app.editing : null}
              />
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** Mark the word that sounds. */
function mark(list: HTMLElement, id: string): void {
  const old = list.querySelector(".sounding");
  if (old instanceof HTMLElement && old.dataset.id === id) return;
  old?.classList.remove("sounding");
  if (id) list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.classList.add("sounding");
}

interface RowProps {
  readonly app: App;
  readonly row: Row;
  readonly at: number;
  readonly count: number;
  readonly version: number;
  readonly current: boolean;
  readonly from: number;
  readonly to: number;
  readonly chosen: boolean;
  readonly cursor: string;
  readonly query: string;
  readonly editing: { from: number; to: number } | null;
}

class RowView extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const { props } = this;
    return (Object.keys(next) as (keyof RowProps)[]).some((key) => next[key] !== props[key]);
  }

  override render({ app, row, at, count, current, from, to, chosen, cursor, editing }: RowProps) {
    const person = app.person(row.speaker);
    const checked = row.turns.length > 0 && row.turns.every((turn) => turn.checked);
    const human = row.turns.some((turn) => turn.human) || (row.speaker === null && row.words.some((word) => word.human.includes("speaker")));
    const notes = app.state.notes.filter((note) => note.start !== null && row.start <= note.start && note.start <= row.end);
    const label = `${person?.label ?? "nobody"}, ${clock(row.start)}${checked ? ", checked" : ""}${row.overlap ? ", overlapped" : ""}`;
    return (
      <article
        class={`row${current ? " current" : ""}${checked ? " checked" : ""}`} data-row={row.words.length ? row.words[0]!.id : row.key} data-at={at}
        aria-posinset={at + 1} aria-setsize={count} aria-label={label} aria-current={current ? "true" : undefined} tabIndex={current ? 0 : -1}
      >
        <header>
          <Badge person={person} />
          <strong><bdi>{person?.label ?? "nobody"}</bdi></strong>
          {person?.digit && <kbd aria-hidden="true">{person.digit}</kbd>}
          <time>{clock(row.start, true)}</time>
          {row.overlap && <span class="tag overlap">overlap</span>}
          {human && <span class="tag human" title="A person decided this">corrected</span>}
          {checked && <span class="tag ok">✓ checked</span>}
        </header>
        {editing ? <Editor app={app} words={row.words} from={editing.from} to={editing.to} /> : (
          <p dir="auto">{row.words.length ? this.words(app, row, from, to, chosen, cursor) : <em class="silent">no words</em>}</p>
        )}
        {notes.map((note) => <p class="note" key={note.id} dir="auto">✎ {note.text}</p>)}
      </article>
    );
  }

  private words(app: App, row: Row, from: number, to: number, chosen: boolean, cursor: string) {
    const found = app.search.words;
    return row.words.map((word, i) => {
      const marks = [
        "word", isLow(word) && !app.source.blind ? "low" : "", word.human.some((what) => what !== "speaker") ? "written" : "",
        chosen && from <= i && i <= to ? "chosen" : "", word.id === cursor ? "cursor" : "", found.has(word.id) ? "found" : "",
      ];
      const title = isLow(word) && !app.source.blind ? `The recognizer is not sure of this word (${Math.round(word.probability! * 100)} %)` : undefined;
      return [<span key={word.id} data-id={word.id} class={marks.filter(Boolean).join(" ")} title={title}>{word.text}</span>, " "];
    });
  }
}

function Editor({ app, words, from, to }: { app: App; words: readonly Word[]; from: number; to: number }) {
  const field = useRef<HTMLTextAreaElement>(null);
  const old = words.slice(from, to + 1);
  const text = old.map((word) => word.text).join(" ");
  useLayoutEffect(() => {
    field.current!.focus();
    field.current!.select();
  }, []);
  const done = (then: 0 | 1 | -1): void => {
    const value = field.current!.value;
    field.current!.closest<HTMLElement>("[data-part]")?.focus({ preventScroll: true });
    commands.writeWords(app, old, value, then);
    if (!then) app.reveal?.(app.rowIndex);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    if (event.key === "Enter") done(0);
    else if (event.key === "Escape") {
      (field.current!.closest<HTMLElement>("[data-part]"))?.focus({ preventScroll: true });
      app.editing = null;
      app.update();
    } else if (event.altKey && event.key === "ArrowRight") done(1);
    else if (event.altKey && event.key === "ArrowLeft") done(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <p dir="auto" class="editor">
      {words.slice(0, from).map((word) => `${word.text} `)}
      <textarea
        ref={field} dir="auto" rows={to > from ? Math.min(Math.ceil(text.length / 60) + 1, 12) : 1} cols={to > from ? 60 : Math.max(text.length + 4, 12)}
        aria-label="Text of these words. Enter: done; Escape: as it was; Alt+arrow: done, and the next word" onKeyDown={press} defaultValue={text}
      />
      {words.slice(to + 1).map((word) => ` ${word.text}`)}
      <small>Enter: done · Esc: as it was · Alt+→: next word</small>
    </p>
  );
}

export function Filters({ app }: { app: App }) {
  const { filter } = app;
  const set = (change: Partial<typeof filter>): void => {
    Object.assign(filter, change);
    app.update();
  };
  const box = (key: "low" | "overlap" | "unchecked", text: string) => (
    <label><input type="checkbox" checked={filter[key]} onChange={(event) => set({ [key]: event.currentTarget.checked })} /> {text}</label>
  );
  const active = filter.speaker || filter.low || filter.overlap || filter.unchecked;
  return (
    <div class="filters" role="group" aria-label="Filters" data-part="filters">
      <select aria-label="Only this speaker" value={filter.speaker} onChange={(event) => set({ speaker: event.currentTarget.value })}>
        <option value="">everybody</option>
        <option value="-">nobody</option>
        {app.persons.map((person: Person) => <option key={person.id} value={person.id}>{person.label.slice(0, 60)}</option>)}
      </select>
      {box("low", "unsure")}
      {box("overlap", "overlap")}
      {box("unchecked", "unchecked")}
      {active ? <span class="count">{plural(app.shown.length, "turn")} of {app.rows.length.toLocaleString("en")}</span> : null}
      <button type="button" onClick={() => ((app.search.open = !app.search.open), app.update(), app.search.open && requestAnimationFrame(() => document.getElementById("search")?.focus()))} aria-expanded={app.search.open}>
        Search <kbd>Ctrl F</kbd>
      </button>
    </div>
  );
}

export function SearchBar({ app }: { app: App }) {
  const { search } = app;
  if (!search.open) return null;
  const { matches } = search;
  const close = (): void => {
    search.open = false;
    document.querySelector<HTMLElement>(".transcript")?.focus();
    app.update();
  };
  return (
    <div class="search" role="search" data-part="search">
      <input
        id="search" type="text" value={search.query} placeholder="Search" aria-label="Search in the transcript" dir="auto"
        onInput={(event) => search.set(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") search.go(event.shiftKey ? -1 : 1);
          else if (event.key === "Escape") close();
        }}
      />
      <span class="count" aria-live="polite">{search.query ? `${Math.max(search.index + 1, 0)} of ${matches.length}` : ""}</span>
      <button type="button" aria-label="Previous match" onClick={() => search.go(-1)} disabled={!matches.length}>↑</button>
      <button type="button" aria-label="Next match" onClick={() => search.go(1)} disabled={!matches.length}>↓</button>
      <input
        type="text" value={search.replacement} placeholder="Replace with" aria-label="Replace with" dir="auto"
        onInput={(event) => ((search.replacement = event.currentTarget.value), app.update())}
        onKeyDown={(event) => {
          if (event.key === "Enter") search.replaceOne();
          else if (event.key === "Escape") close();
        }}
      />
      <button type="button" onClick={() => search.replaceOne()} disabled={!matches.length}>Replace</button>
      <button type="button" onClick={() => search.replaceAll()} disabled={!matches.length}>Replace all</button>
      <button type="button" class="plain" aria-label="Close the search" onClick={close}>×</button>
    </div>
  );
}
