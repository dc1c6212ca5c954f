// Speakers are told apart by colour, pattern and initial: no two of them need good colour vision together. The colours
// are those of Okabe and Ito, "Color Universal Design" (2008), in an order in which neighbours differ in lightness, too.

export const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c8c8c"] as const;
export const PATTERNS = ["plain", "stripes", "dots", "checks"] as const;

export interface Look {
  readonly colour: string;
  readonly ink: string; // of letters on the colour
  readonly pattern: (typeof PATTERNS)[number];
}

const DARK = "#10151c";

/** WCAG 2 relative luminance. */
function luminance(colour: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const value = parseInt(colour.slice(i, i + 2), 16) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** WCAG 2 contrast ratio. */
export function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** The look of the speaker at a position of the list. Eight colours, then the same with another pattern. */
export function look(position: number): Look {
  const colour = COLOURS[position % COLOURS.length]!;
  const pattern = PATTERNS[(position + Math.floor(position / COLOURS.length)) % PATTERNS.length]!;
  return { colour, ink: contrast(colour, "#ffffff") > contrast(colour, DARK) ? "#ffffff" : DARK, pattern };
}

/** One or two letters for a speaker: of the name, else the number of the id. */
export function initials(id: string, name: string | null): string {
  if (name === null) return /(\d{1,3})$/.exec(id)?.[1]?.replace(/^0+(?=\d)/, "") ?? [...id.trim()][0]?.toUpperCase() ?? "?";
  const parts = name.trim().split(/\s+/).slice(0, 2);
  const letters = parts.map((part) => [...part].find((letter) => /\p{L}|\p{N}/u.test(letter)) ?? "");
  return letters.join("").toUpperCase() || "?";
}
