// What keys and buttons do.

import { firstOf, type App } from "./app.ts";
import { give, group, nextSpeaker, rewrite } from "./changes.ts";
import { DoesNotFit, type Operation } from "./check.ts";
import type { Pass } from "./doubts.ts";
import type { Word } from "./state.ts";
import { exact, plural, short } from "./text.ts";
import type { Row } from "./utterances.ts";

const quote = (text: string): string => `“${short(text, 30)}”`;

/** The selected words or rows are somebody's: an id, a new speaker with a name (maybe none), or nobody. */
export function assign(app: App, target: string | null | { name: string }): void {
  const parts = app.selection;
  giveParts(app, parts, target);
}

type Part = { row: Row; from: number; to: number };

function giveParts(app: App, parts: readonly Part[], target: string | null | { name: string }): void {
  const fresh = target !== null && typeof target === "object";
  const id = fresh ? nextSpeaker(app.state) : target;
  const name = fresh ? target.name.trim() || id! : app.label(id);
  const others = parts.filter(({ row }) => row.speaker !== id);
  const changed = app.change(() => {
    if (!others.length) throw new DoesNotFit(`it is ${app.label(id)}'s already`);
    const operations: Operation[] = fresh ? [{ op: "add_speaker", speaker: id, name: target.name.trim() || null }] : [];
    return group([...operations, ...others.map(({ row, from, to }) => give(app.state, row, id, from, to))]);
  });
  if (!changed) return;
  const whole = others.every(({ row, from, to }) => from === 0 && to >= row.words.length - 1);
  const what = others.length > 1 ? plural(others.length, "turn") : whole ? "This turn" : "These words";
  app.anchor = null;
  app.say(id === null ? `${what}: nobody now.` : `${what}: ${short(name, 30)} now.`);
}

/** All that the speaker of the current row says is another speaker's: the two are one person. */
export function assignCluster(app: App, target: string): void {
  const from = app.row?.speaker;
  if (from == null) return app.say("Nobody says these words: choose a speaker without Shift.", true);
  const { turns } = app.person(from)!;
  const [gone, remaining] = [app.label(from), app.label(target)];
  app.change({ op: "merge_speakers", from, into: target }, `All of ${short(gone, 20)} (${plural(turns, "turn")}) is ${short(remaining, 20)} now. Ctrl+Z takes it back.`);
}

export function byDigit(app: App, digit: number, cluster: boolean): void {
  const person = app.persons.find((one) => one.digit === digit);
  if (!person) return app.say(`There is no speaker ${digit}. Press n for a new one.`, true);
  if (app.choice) return choose(app, person.id);
  if (cluster) assignCluster(app, person.id);
  else assign(app, person.id);
}

export function choose(app: App, answer: string | null | { name: string }): void {
  const { choice } = app;
  app.choice = null;
  choice?.answer(answer);
  app.update();
}

/** Ask for a speaker; the next digit, or a name, answers. */
export function ask(app: App, title: string, answer: (speaker: string | null | { name: string }) => void, named?: "any" | "new"): void {
  app.choice = { title, answer, ...(named ? { named } : {}) };
  app.update();
}

/** Ask with a field for a name; a question that is open already gets the field. */
export function askName(app: App, named: "any" | "new"): void {
  if (!app.row) return;
  const title = named === "any" ? "Whose is it? Type a name" : "New speaker: type a name";
  ask(app, app.choice?.title ?? title, app.choice?.answer ?? ((target) => assign(app, target)), named);
}

/** The row is two people's: the part from the cursor's word on is somebody else's. */
export function split(app: App): void {
  const { row, wordIndex } = app;
  if (!row || row.words.length < 2) return app.say("There is nothing to split: the turn has one word or none.", true);
  if (wordIndex === 0) return app.say("Go to the word where the second speaker begins (→), then press s.", true);
  const word = row.words[wordIndex]!;
  app.anchor = row.words[row.words.length - 1]!.id; // the second part is seen
  ask(app, `Split before ${quote(word.text)}. Who says the second part?`, (target) =>
    giveParts(app, [{ row, from: wordIndex, to: row.words.length - 1 }], target));
}

/** Show the spectrogram in the timeline, or hide it. */
export function toggleSpectrogram(app: App): void {
  if (!app.hasSpectrogram) return app.say("There is no spectrogram here: it needs the recording, and `diarize review`.", true);
  app.spectrogram = !app.spectrogram;
  app.update();
}

function rowBefore(app: App): Row | null {
  return app.rows[app.rowIndex - 1] ?? null;
}

export function splitToPrevious(app: App): void {
  const { row, wordIndex } = app;
  const previous = rowBefore(app);
  if (!row || !previous) return app.say("There is no turn before this one.", true);
  if (wordIndex === 0) return app.say("Go to the first word that stays in this turn (→), then press Shift+S.", true);
  giveParts(app, [{ row, from: 0, to: wordIndex - 1 }], previous.speaker);
}

/** The row belongs to the one before it. */
export function mergeWithPrevious(app: App): void {
  const { row } = app;
  const previous = rowBefore(app);
  if (!row || !previous) return app.say("There is no turn before this one.", true);
  if (previous.speaker === row.speaker) {
    if (row.speaker === null) return app.say("Both are nobody's.", true);
    const [start, end] = [Math.min(previous.end, row.start), Math.max(previous.end, row.start)];
    if (start < end && row.turns[0] !== previous.turns[previous.turns.length - 1]) {
      app.change({ op: "insert_turn", start, end, speaker: row.speaker }, "One turn now, with the pause in it.");
    } else app.say("They are one turn already; a pause divides them here.");
    return;
  }
  giveParts(app, app.selection, previous.speaker);
}

/** A short turn of another speaker inside a long one: A - B - A. */
export function takeOut(app: App): void {
  const parts: Part[] = app.anchor !== null ? app.selection : app.row ? [{ row: app.row, from: app.wordIndex, to: app.wordIndex }] : [];
  const words = parts.flatMap(({ row, from, to }) => row.words.slice(from, to + 1));
  if (!words.length) return;
  ask(app, `Who says ${quote(words.map((word) => word.text).join(" "))}?`, (target) => giveParts(app, parts, target));
}

/** The boundary to the row before moves by a word: earlier (-1), or later (+1). */
export function moveBoundary(app: App, step: 1 | -1): void {
  const { row } = app;
  const previous = rowBefore(app);
  if (!row || !previous) return app.say("There is no turn before this one.", true);
  if (previous.speaker === row.speaker) return app.say("The turn before is the same speaker's.", true);
  const at = previous.words.length - 1;
  if (step < 0) {
    if (at < 0) return app.say("The turn before has no words.", true);
    app.change(() => give(app.state, previous, row.speaker, at, at));
  } else {
    if (!row.words.length) return app.say("The turn has no words.", true);
    const next = row.words[1];
    if (app.change(() => give(app.state, row, previous.speaker, 0, 0)) && next) app.moveTo(next.id);
  }
}

// Words

export function editWords(app: App, whole: boolean): void {
  const { row } = app;
  if (!row?.words.length) return app.say("This turn has no words.", true);
  const chosen = app.selection.length === 1 ? app.selection[0]! : null;
  app.editing =
    whole || (app.anchor !== null && chosen)
      ? { row: row.key, from: whole ? 0 : chosen!.from, to: whole ? row.words.length - 1 : chosen!.to }
      : { row: row.key, from: app.wordIndex, to: app.wordIndex };
  app.player.pause();
  app.update();
}

export function writeWords(app: App, words: readonly Word[], text: string, then: 0 | 1 | -1): void {
  app.editing = null;
  const row = app.row;
  const last = row?.words.findIndex((word) => word.id === words[words.length - 1]?.id) ?? -1;
  const first = row?.words.findIndex((word) => word.id === words[0]?.id) ?? -1;
  const goal = then > 0 ? row?.words[last + 1] : then < 0 ? row?.words[first - 1] : undefined;
  const operations = rewrite(words, text);
  if (operations.length) {
    const next = row?.words[last + 1] ?? row?.words[first - 1];
    app.change(() => group(operations));
    if (!app.history.draft.word(app.cursor) && next) app.cursor = next.id;
  }
  if (goal && app.history.draft.word(goal.id)) {
    app.moveTo(goal.id);
    editWords(app, false);
  } else app.update();
}

/** Ask for the times of the cursor's word. */
export function askTimes(app: App): void {
  if (!app.row?.words.length) return app.say("This turn has no words.", true);
  app.player.pause();
  app.dialog = "times";
  app.update();
}

/** The word sounds from `start` to `end` (ms); whether that could be applied. */
export function timeWord(app: App, word: Word, start: number, end: number): boolean {
  return app.change({ op: "time_word", word: word.id, start, end }, `${quote(word.text)}: ${exact(start)} to ${exact(end)}.`);
}

export function deleteWords(app: App): void {
  const parts = app.anchor !== null ? app.selection : app.row ? [{ row: app.row, from: app.wordIndex, to: app.wordIndex }] : [];
  const words = parts.flatMap(({ row, from, to }) => row.words.slice(from, to + 1));
  if (!words.length) return deleteTurn(app);
  const { row } = app;
  const next = row?.words.find((word) => word.start >= words[words.length - 1]!.start && !words.includes(word)) ?? row?.words.find((word) => !words.includes(word));
  app.anchor = null;
  app.change(() => group(words.map((word) => ({ op: "delete_word", word: word.id }))), `Deleted ${quote(words.map((word) => word.text).join(" "))}. Ctrl+Z takes it back.`);
  if (next) app.moveTo(next.id);
}

export function deleteTurn(app: App): void {
  const { row } = app;
  if (!row) return;
  const words = row.words.map((word): Operation => ({ op: "delete_word", word: word.id }));
  app.change(() => {
    const cut: Operation[] = row.speaker !== null && row.turns.length ? [give(app.state, row, null)] : [];
    return group([...cut, ...words]);
  }, "Deleted. Ctrl+Z takes it back.");
}

/** A person has listened, and the row is right. */
export function check(app: App): void {
  const rows = app.selection.map(({ row }) => row);
  const turns = [...new Map(rows.flatMap((row) => row.turns.map((turn) => [turn.id, turn]))).values()];
  if (!turns.length) return app.say("There is no turn to check: nobody says these words.", true);
  const checked = !turns.every((turn) => turn.checked);
  app.change(() => group(turns.filter((turn) => turn.checked !== checked).map((turn) => ({ op: "check_turn", turn: turn.id, checked }))), checked ? "Checked." : "Not checked any more.");
}

export function note(app: App, text: string): void {
  const { row } = app;
  const chosen = app.selection;
  const first = chosen[0];
  const last = chosen[chosen.length - 1];
  app.dialog = null;
  if (!text.trim()) return app.update();
  const start = row && first ? (first.row.words[first.from]?.start ?? first.row.start) : null;
  const end = row && last ? (last.row.words[last.to]?.end ?? last.row.end) : null;
  app.change({ op: "note", text, start, end }, "Noted.");
}

export function rename(app: App, speaker: string, name: string): void {
  const person = app.person(speaker);
  const trimmed = name.trim() || null;
  if (!person || trimmed === (app.source.blind && !person.human ? null : person.name)) return;
  app.change({ op: "name_speaker", speaker, name: trimmed }, trimmed ? `${speaker} is ${short(trimmed, 30)} everywhere.` : `${speaker} has no name any more.`);
  if (app.source.blind) app.refreshPeopleWhenSaved();
}

// Undo and redo

export function undo(app: App, kind: "undo" | "redo"): void {
  const { author } = app.source;
  const number = app.history.reach(author)[kind].at(-1);
  if (number === undefined) return app.say(kind === "undo" ? "There is nothing to take back." : "There is nothing to bring back.");
  app.change({ op: kind, number }, kind === "undo" ? "Taken back. Ctrl+Shift+Z brings it again." : "Brought back.");
}

// Moving and listening

export function moveWord(app: App, step: 1 | -1, extend: boolean): void {
  const { row } = app;
  if (!row) return;
  const word = row.words[app.wordIndex + step];
  if (word) return app.moveTo(word.id, extend);
  const shown = app.shown;
  const next = app.rows[shown[shown.indexOf(app.rowIndex) + step] ?? -1];
  if (next && !extend) app.moveTo(step > 0 ? firstOf(next) : (next.words[next.words.length - 1]?.id ?? next.key));
}

export function moveRow(app: App, step: number, extend = false): void {
  const { shown } = app;
  if (!shown.length) return;
  const here = app.rowIndex;
  let at = shown.indexOf(here);
  if (at < 0) at = shown.findIndex((i) => i >= here) - (step > 0 ? 1 : 0);
  app.moveToRow(shown[Math.min(Math.max(at + step, 0), shown.length - 1)]!, extend);
}

/** To the next row (1), or the previous one (-1), of another speaker. */
export function speakerChange(app: App, step: 1 | -1): void {
  const { rows, rowIndex } = app;
  for (let i = rowIndex + step; rows[i]; i += step) if (rows[i]!.speaker !== rows[rowIndex]?.speaker) return app.moveToRow(i);
  app.say("No speaker change there.");
}

export function playRow(app: App): void {
  const { row } = app;
  if (row) app.player.play(row.start, row.end);
}

export function playHere(app: App): void {
  const word = app.row?.words[app.wordIndex];
  app.player.play(word?.start ?? app.row?.start ?? 0);
}

export function loopRow(app: App): void {
  const { row, player } = app;
  if (!row) return;
  if (player.loop) {
    player.loop = null;
    return app.say("No loop.");
  }
  player.loop = { start: row.start, end: row.end };
  player.play(row.start);
  app.say("This turn repeats until you press l.");
}

export function nextDoubt(app: App, step: 1 | -1): void {
  if (app.pass === "people") return nextPerson(app, step);
  const doubt = app.doubts.next(app.pass, step);
  if (!doubt) return app.say(app.pass === "turns" ? "No doubts about turns are left." : "No doubts about words are left.");
  const turn = doubt.turn !== null ? app.rowOf(doubt.turn) : -1;
  const word = doubt.word !== null ? doubt.word : turn >= 0 ? doubt.turn : app.wordAt(Math.floor((doubt.start + doubt.end) / 2))?.id;
  const own = doubt.turn === null ? undefined : app.rows.find((row) => row.turns.some((one) => one.id === doubt.turn) && row.start < doubt.end && doubt.start < row.end);
  app.moveTo(doubt.word ?? (own ? firstOf(own) : (word ?? app.cursor)));
  app.player.play(Math.max(doubt.start - 300, 0), doubt.end + 300);
}

/** The next speaker without a name: a row of theirs. */
function nextPerson(app: App, step: 1 | -1): void {
  const unnamed = app.persons.filter((one) => one.name === null);
  if (!unnamed.length) return app.say("Everybody has a name.");
  const here = app.person(app.row?.speaker ?? null)?.position ?? -1;
  const next = step > 0 ? unnamed.find((one) => one.position > here) : [...unnamed].reverse().find((one) => one.position < here);
  const person = next ?? unnamed[step > 0 ? 0 : unnamed.length - 1]!;
  const clearest = app.people?.speakers[person.id]?.clearest[0];
  const rows = app.rows.filter((row) => row.speaker === person.id);
  const row = (clearest && rows.find((one) => one.start <= clearest.start && clearest.start < one.end)) ?? rows[0];
  if (row) app.moveTo(firstOf(row));
  document.getElementById(`name-${person.position}`)?.focus();
}

export function setPass(app: App, pass: Pass): void {
  app.pass = pass;
  app.update();
}

export function clear(app: App): void {
  if (app.choice) app.choice = app.anchor = null;
  else if (app.editing) app.editing = null;
  else if (app.anchor !== null) app.anchor = null;
  else if (app.search.open) app.search.open = false;
  else if (app.player.loop) app.player.loop = null;
  app.update();
}
