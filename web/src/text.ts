// Times and texts for readers.

/** 1:02:03 or 2:03 of milliseconds; with tenths where asked for. */
export function clock(ms: number, tenths = false): string {
  const all = Math.floor(ms / (tenths ? 100 : 1000)) / (tenths ? 10 : 1);
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor(all / 60) % 60;
  const rest = all - hours * 3600 - minutes * 60;
  const seconds = (tenths ? rest.toFixed(1) : String(Math.floor(rest))).padStart(tenths ? 4 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

/** 1:23.250 of milliseconds, exactly. */
export const exact = (ms: number): string => `${clock(ms)}.${String(ms % 1000).padStart(3, "0")}`;

/** Milliseconds of 83.25, 1:23.25 or 0:01:23.25; null of any other text. */
export function milliseconds(text: string): number | null {
  const match = /^\s*(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:[.,]\d*)?)\s*$/.exec(text);
  if (!match) return null;
  const [, hours = "0", minutes = "0", seconds = "0"] = match;
  return Math.round((Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds.replace(",", "."))) * 1000);
}

/** "3 min 20 s", "45 s". */
export function length(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const percent = (share: number): string => `${Math.floor(share * 100)} %`;

export const plural = (count: number, one: string, many = `${one}s`): string => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** For comparing texts in a search: no difference of case, of accents' encoding, of typographic quotes. */
export const folded = (text: string): string =>
  text.normalize("NFKC").toLowerCase().replace(/[\u2018\u2019]/g, "'").replace(/[\u201c\u201d]/g, '"');

/** At most `most` characters, with an ellipsis. */
export function short(text: string, most = 40): string {
  const letters = [...text.slice(0, 4 * most)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}
