// The keys of the page: one table, which binds them and which the sheet on `?` shows.

import type { App } from "./app.ts";
import * as commands from "./commands.ts";

type Group = "Who speaks" | "Turns" | "Words" | "Listen" | "Move" | "All";

export interface Key {
  readonly keys: readonly string[]; // "s", "Shift+S", "Ctrl+Z", "1-9", ...
  readonly group: Group;
  readonly what: string;
  readonly run: (app: App, digit: number) => void;
}

export const KEYS: readonly Key[] = [
  { keys: ["1-9"], group: "Who speaks", what: "this turn, or the selection, is that speaker's", run: (app, digit) => commands.byDigit(app, digit, false) },
  { keys: ["Shift+1-9"], group: "Who speaks", what: "all turns of this speaker are that speaker's: they are one person", run: (app, digit) => commands.byDigit(app, digit, true) },
  { keys: ["0"], group: "Who speaks", what: "nobody's, or unknown", run: (app) => (app.choice ? commands.choose(app, null) : commands.assign(app, null)) },
  { keys: ["n"], group: "Who speaks", what: "a new speaker's", run: (app) => commands.askName(app, "new") },
  { keys: ["/", "a"], group: "Who speaks", what: "type the first letters of a name", run: (app) => commands.askName(app, "any") },
  { keys: ["r", "F2"], group: "Who speaks", what: "name this speaker, everywhere", run: (app) => dialog(app, "rename") },

  { keys: ["s"], group: "Turns", what: "split before this word; then press the speaker of the second part", run: commands.split },
  { keys: ["Shift+S"], group: "Turns", what: "split, and give the first part to the speaker before", run: commands.splitToPrevious },
  { keys: ["m"], group: "Turns", what: "merge with the turn before", run: commands.mergeWithPrevious },
  { keys: ["e"], group: "Turns", what: "take this word, or the selection, out of the turn for another speaker", run: commands.takeOut },
  { keys: ["["], group: "Turns", what: "the turn begins a word earlier", run: (app) => commands.moveBoundary(app, -1) },
  { keys: ["]"], group: "Turns", what: "the turn begins a word later", run: (app) => commands.moveBoundary(app, 1) },
  { keys: ["c"], group: "Turns", what: "checked: it is right; again: not checked", run: commands.check },
  { keys: ["Shift+Delete"], group: "Turns", what: "delete the turn and its words", run: commands.deleteTurn },

  { keys: ["Enter"], group: "Words", what: "write this word, or the selection, anew", run: (app) => commands.editWords(app, false) },
  { keys: ["Shift+Enter"], group: "Words", what: "write the whole turn anew", run: (app) => commands.editWords(app, true) },
  { keys: ["Delete", "Backspace"], group: "Words", what: "delete the word, or the selection", run: commands.deleteWords },
  { keys: ["t"], group: "Words", what: "when this word begins and ends", run: commands.askTimes },
  { keys: ["Ctrl+F"], group: "Words", what: "search and replace", run: (app) => openSearch(app) },

  { keys: ["Tab", "Space"], group: "Listen", what: "play, or pause; it goes on a little earlier (Tab: in the transcript, and while you write)", run: (app) => app.player.toggle() },
  { keys: ["p"], group: "Listen", what: "play this turn", run: commands.playRow },
  { keys: ["Shift+P"], group: "Listen", what: "play from this word on", run: commands.playHere },
  { keys: ["l"], group: "Listen", what: "repeat this turn", run: commands.loopRow },
  { keys: [","], group: "Listen", what: "slower", run: (app) => app.player.faster(-1) },
  { keys: ["."], group: "Listen", what: "faster", run: (app) => app.player.faster(1) },

  { keys: ["d"], group: "Move", what: "next doubt", run: (app) => commands.nextDoubt(app, 1) },
  { keys: ["Shift+D"], group: "Move", what: "doubt before", run: (app) => commands.nextDoubt(app, -1) },
  { keys: ["w"], group: "Move", what: "the word that sounds", run: (app) => app.sounding && app.moveTo(app.sounding) },
  { keys: ["g"], group: "Move", what: "next speaker change", run: (app) => commands.speakerChange(app, 1) },
  { keys: ["Shift+G"], group: "Move", what: "speaker change before", run: (app) => commands.speakerChange(app, -1) },
  { keys: ["ArrowRight"], group: "Move", what: "next word", run: (app) => commands.moveWord(app, 1, false) },
  { keys: ["ArrowLeft"], group: "Move", what: "word before", run: (app) => commands.moveWord(app, -1, false) },
  { keys: ["Shift+ArrowRight"], group: "Move", what: "select words", run: (app) => commands.moveWord(app, 1, true) },
  { keys: ["Shift+ArrowLeft"], group: "Move", what: "select words backwards", run: (app) => commands.moveWord(app, -1, true) },
  { keys: ["ArrowDown", "j"], group: "Move", what: "next turn", run: (app) => commands.moveRow(app, 1) },
  { keys: ["ArrowUp", "k"], group: "Move", what: "turn before", run: (app) => commands.moveRow(app, -1) },
  { keys: ["Shift+ArrowDown"], group: "Move", what: "select turns", run: (app) => commands.moveRow(app, 1, true) },
  { keys: ["Shift+ArrowUp"], group: "Move", what: "select turns backwards", run: (app) => commands.moveRow(app, -1, true) },
  { keys: ["PageDown"], group: "Move", what: "ten turns on", run: (app) => commands.moveRow(app, 10) },
  { keys: ["PageUp"], group: "Move", what: "ten turns back", run: (app) => commands.moveRow(app, -10) },
  { keys: ["Home"], group: "Move", what: "first turn", run: (app) => commands.moveRow(app, -Infinity) },
  { keys: ["End"], group: "Move", what: "last turn", run: (app) => commands.moveRow(app, Infinity) },

  { keys: ["Ctrl+Z"], group: "All", what: "undo, as often as you like", run: (app) => commands.undo(app, "undo") },
  { keys: ["Ctrl+Shift+Z", "Ctrl+Y"], group: "All", what: "redo", run: (app) => commands.undo(app, "redo") },
  { keys: ["Shift+N"], group: "All", what: "note", run: (app) => dialog(app, "note") },
  { keys: ["h"], group: "All", what: "what has been changed, by whom", run: (app) => dialog(app, "log") },
  { keys: ["Alt+1"], group: "All", what: "first pass: who they are", run: (app) => commands.setPass(app, "people") },
  { keys: ["Alt+2"], group: "All", what: "second pass: turns", run: (app) => commands.setPass(app, "turns") },
  { keys: ["Alt+3"], group: "All", what: "third pass: words", run: (app) => commands.setPass(app, "words") },
  { keys: ["="], group: "All", what: "zoom in", run: (app) => app.zoom?.(0.5) },
  { keys: ["-"], group: "All", what: "zoom out", run: (app) => app.zoom?.(2) },
  { keys: ["x"], group: "All", what: "spectrogram in the timeline, or none", run: commands.toggleSpectrogram },
  { keys: ["F6"], group: "All", what: "next part of the page", run: () => nextPart(1) },
  { keys: ["Shift+F6"], group: "All", what: "part of the page before", run: () => nextPart(-1) },
  { keys: ["Escape"], group: "All", what: "nothing selected; Tab then goes to the next button, as in other pages", run: commands.clear },
  { keys: ["?"], group: "All", what: "this sheet", run: (app) => dialog(app, "help") },
];

function dialog(app: App, name: NonNullable<App["dialog"]>): void {
  app.dialog = name;
  app.update();
}

function openSearch(app: App): void {
  app.search.open = true;
  app.update();
  requestAnimationFrame(() => {
    const field = document.getElementById("search") as HTMLInputElement | null;
    field?.focus();
    field?.select();
  });
}

/** Move the focus to the next of the parts that have `data-part`. */
function nextPart(step: 1 | -1): void {
  const parts = [...document.querySelectorAll<HTMLElement>("[data-part]")].filter((part) => part.offsetParent !== null);
  const here = parts.findIndex((part) => part.contains(document.activeElement));
  const part = parts[(here + step + parts.length) % parts.length];
  const target = part?.matches("[tabindex]") ? part : part?.querySelector<HTMLElement>("button, input, select, [tabindex]");
  target?.focus();
}

/** Whether keys are text for the element that has the focus. A file field, or a button, takes no text. */
export function isTyping(element: Element | null): boolean {
  if (!element) return false;
  const name = element.localName;
  if (name === "input") {
    return !["button", "checkbox", "color", "file", "image", "radio", "range", "reset", "submit"].includes((element as HTMLInputElement).type);
  }
  return name === "textarea" || name === "select" || (element as HTMLElement).isContentEditable === true;
}

export interface Pressed {
  readonly key: string;
  readonly code: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly altGraph: boolean;
}

const BINDINGS = new Map(KEYS.flatMap((key) => key.keys.map((name) => [name, key] as const)));

/** What a key press is bound to, and the digit of it. */
export function binding(event: Pressed): { key: Key; digit: number; name: string } | null {
  const find = (name: string, digit = 0) => {
    const key = BINDINGS.get(name);
    return key ? { key, digit, name } : null;
  };
  const character = event.key === " " ? "Space" : event.key;
  if (event.altGraph) return /^[\[\]\/?]$/.test(character) ? find(character) : null; // as some keyboards write them
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  if (digit !== undefined && !event.ctrlKey && !event.metaKey) {
    if (event.altKey) return find(`Alt+${digit}`);
    if (digit === "0") return event.shiftKey ? find(character) : find("0");
    return find(event.shiftKey ? "Shift+1-9" : "1-9", Number(digit));
  }
  if (event.altKey) return null;
  if (character.length === 1 && !/\p{L}/u.test(character)) return event.ctrlKey || event.metaKey ? null : find(character);
  const letter = character.length === 1 ? (event.shiftKey || event.ctrlKey || event.metaKey ? character.toUpperCase() : character.toLowerCase()) : character;
  return find(`${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${letter}`);
}

const NATIVE = new Set(["button", "summary", "a", "input", "select"]);
let leaving = false; // after Escape, Tab moves the focus as in every page

export function bind(app: App, root: Document): void {
  root.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    const match = binding({
      key: event.key, code: event.code, ctrlKey: event.ctrlKey, metaKey: event.metaKey, altKey: event.altKey,
      shiftKey: event.shiftKey, altGraph: event.getModifierState("AltGraph"),
    });
    const target = event.target as Element | null;
    const inDialog = target?.closest("dialog") != null;
    const everywhere = match !== null && (match.name === "F6" || match.name === "Shift+F6" || match.name === "Ctrl+F");
    if (match?.name === "Tab") {
      const here = !inDialog && (target === document.body || target?.closest("[data-tab-plays]") != null);
      if (!here || leaving) return void (leaving = false);
    } else leaving = match?.name === "Escape";
    if (!match || inDialog) return;
    if (isTyping(target) && !everywhere && !(match.name === "Tab" && target?.closest("[data-tab-plays]"))) return;
    if (["Space", "Enter"].includes(match.name) && target && NATIVE.has(target.localName) && (target as HTMLInputElement).type !== "file") return;
    if (/^(Arrow|Home|End|Page)/.test(match.key.keys[0]!) && target?.matches("input, select, [role=slider]")) return;
    event.preventDefault();
    match.key.run(app, match.digit);
  });
}
