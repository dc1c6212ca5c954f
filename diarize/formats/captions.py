"""What captions and recognizers write beside words: marks of sounds, lines shown twice, and names of speakers.

Files of other tools only: the formats of this project have none of it. Everything that is left out or changed is
counted in a note.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, islice

from diarize.formats.caption_names import name_speakers
from diarize.formats.timed_text import TimedText
from diarize.formats.timing_lines import without_marks
from diarize.text import counted

Cues = Sequence[Sequence[TimedText]]  # the texts of each cue, or segment, in the order of the file

_SHOWN = 5  # marks that a note lists
_BESIDE = 40  # characters around a mark that show whether it is a line of its own
_MOST_LINES = 8  # of a cue that may roll
_ADJACENT = 0.1  # s between two cues of which the second may show lines of the first again
_GROWING = 3  # cues of a file that continue the line of the one before: fewer may be said twice
_OFTEN = 0.5  # part of the cues that repeat lines in a file of rolling captions

# Sounds, by the beginning of their words in the languages of most captions.
_SOUND = re.compile(
    r"\b(?:applau|aplaus|beep|blank[_ ]audio|breath|buzz|chatter|cheer|chuckl|clap|click|clears? throat|cough|cries|"
    r"cross[- ]?talk|crying|ding|door|eps\b|foot\w*steps|foreign|gasp|giggl|groan|grunt|gunshot|hum(?:s|ming)\b|"
    r"inaud|indistinct|inint|knock|lach|laugh|lip[- ]?smack|music|musik|música|musique|noise|no[- ]speech|overlap|"
    r"pause|phone (?:ring|buzz)|ris(?:as|os)\b|rire|ringing|scream|sigh|silen|sing(?:s|ing)\b|sil\b|sniff|snor|sob|"
    r"sound|speak(?:s|ing)\b|static\b|stille|unk\b|unintelligible|unverständlich|vocali[sz]ed|whisper|whistl)|"
    r"\bspeaker_turn\b|аплод|музык|смех|音[乐楽樂]|笑|拍手|掌[声聲]",
    re.IGNORECASE,
)
_SQUARE = re.compile(r"[\[［【〔]([^\[\]［］【】〔〕]{0,80})[\]］】〕]")
_ROUND = re.compile(r"[(（]([^()（）]{1,80})[)）]|\*([^*\n]{1,40})\*")
_NOTES_OF_MUSIC = re.compile("[♩♪♫♬♭♯🎵🎶🎼]+")
_TOKEN = re.compile(r"\[[^\[\]\s]{1,40}\]|<(?:eps|sil|spn|nsn|noise|unk|/?s)>", re.IGNORECASE)  # of Kaldi and others


def clean(cues: Cues, names_in_text: bool = True) -> tuple[list[TimedText], tuple[str, ...]]:
    """The texts of captions without what is no speech, each rolling line once, names before a colon as speakers
    (unless `names_in_text` is false); and notes.
    """
    notes: list[str] = []
    present = [[replace(part, text=without_marks(part.text)) for part in cue] for cue in cues if cue]
    rolled = _roll(present, notes)
    return _without_all_sounds(name_speakers(rolled, names_in_text, notes), notes), tuple(notes)


def clean_segments(segments: Sequence[TimedText]) -> tuple[list[TimedText], tuple[str, ...]]:
    """The segments or words of a recognizer without marks of sounds, `(speaker 1)` as a speaker; and notes."""
    notes: list[str] = []
    if segments and all(segment.word for segment in segments):  # a mark may be several words
        texts = _without_all_sounds([[TimedText("", None, None, words=tuple(segments))]], notes)
        return [word for text in texts for word in text.words], tuple(notes)
    return _without_all_sounds(name_speakers([[s] for s in segments], False, notes), notes), tuple(notes)


def without_sound_tokens(words: Sequence[TimedText]) -> tuple[list[TimedText], tuple[str, ...]]:
    """Words of a list without those that are a sound in brackets (`[noise]`, `<sil>`), and notes."""
    marks = Counter(w.text for w in words if _TOKEN.fullmatch(w.text) and (w.text[0] == "<" or _SOUND.search(w.text)))
    return [word for word in words if word.text not in marks], (_note_marks(marks),) if marks else ()


# Sounds.


def _without_all_sounds(cues: Cues, notes: list[str]) -> list[TimedText]:
    marks: Counter[str] = Counter()
    texts = [cleaned for cue in cues for part in cue if (cleaned := _without_sounds(part, marks)) is not None]
    if marks:
        notes.append(_note_marks(marks))
    return texts


def _note_marks(marks: Counter[str]) -> str:
    shown = [" ".join(text.split()) + (f" ({n} times)" if n > 1 else "") for text, n in marks.most_common(_SHOWN)]
    more = ", ..." if len(marks) > _SHOWN else ""
    return f"{counted(sum(marks.values()), 'mark')} of sounds and the like left out: {', '.join(shown)}{more}"


def _without_sounds(part: TimedText, marks: Counter[str]) -> TimedText | None:
    """A text without its marks, which are counted; None if nothing is left. Words are cut as the text is."""
    if part.words:
        words = _cut_words(part.words, marks)
        text = _cut(part.text, 0, len(part.text), _sound_spans(part.text))
        return replace(part, text=text, words=words) if words else None
    spans = _sound_spans(part.text)
    if not spans:
        return part
    marks.update(part.text[first:last] for first, last in spans)
    rest = _cut(part.text, 0, len(part.text), spans)
    return replace(part, text=rest) if rest.strip(" \n.,-–—") else None


def _cut_words(words: Sequence[TimedText], marks: Counter[str]) -> tuple[TimedText, ...]:
    """Words without the marks in them, also marks of several words."""
    text = " ".join(word.text.strip() for word in words)
    spans, at, begin = _sound_spans(text), 0, 0
    marks.update(text[first:last] for first, last in spans)
    rest: list[TimedText] = []
    for word in words:
        end = begin + len(word.text.strip())
        while at < len(spans) and spans[at][1] <= begin:
            at += 1
        own = []
        for span in islice(spans, at, None):
            if span[0] >= end:
                break
            own.append(span)
        remainder = _cut(text, begin, end, own).strip()
        if remainder == text[begin:end]:
            rest.append(word)
        elif remainder:
            rest.append(replace(word, text=remainder))
        begin = end + 1
    return tuple(rest)


def _sound_spans(text: str) -> list[tuple[int, int]]:
    """Where a text has marks: [...] always, (...) and *...* of a sound or where they are a whole line, and notes."""
    spans = [match.span() for match in _SQUARE.finditer(text)]
    covered = bytearray(len(text))
    for first, last in spans:
        covered[first:last] = b"\1" * (last - first)
    for match in _ROUND.finditer(text):
        first, last = match.span()
        inside = (match[1] or match[2]).rstrip()
        before = text[max(0, first - _BESIDE) : first].rpartition("\n")[2].strip(" -–—♪")
        after = text[last : last + _BESIDE].partition("\n")[0].strip(" ♪.")
        is_line = not before and not after and not inside.endswith((".", "?", "!"))
        if (is_line or _SOUND.search(inside)) and 1 not in covered[first:last]:
            spans.append((first, last))
            covered[first:last] = b"\1" * (last - first)
    spans += [match.span() for match in _NOTES_OF_MUSIC.finditer(text) if not covered[match.start()]]
    return sorted(spans)


def _cut(text: str, begin: int, end: int, spans: Iterable[tuple[int, int]]) -> str:
    """`text[begin:end]` without what is in the spans, which become a space."""
    result = ""
    for first, last in spans:
        if last > begin and first < end:
            result += text[begin : max(begin, first)] + " "
            begin = max(begin, min(last, end))
    return result + text[begin:end]


# Rolling captions.


def _roll(cues: list[list[TimedText]], notes: list[str]) -> list[list[TimedText]]:
    """Cues without the lines of the cue before that they show again, if most cues of the file do."""
    lines = [_join_lines(cue) for cue in cues]
    repeats = [0] * len(cues)
    grows, rolls = 0, 0  # cues that continue a line of the one before, and those that add a line below
    for i in range(1, len(cues)):
        if _is_adjacent(cues[i - 1], cues[i]):
            repeats[i] = _count_repeated(lines[i - 1], lines[i])
            ends = accumulate(map(len, lines[i]))
            rolls += 0 < repeats[i] < sum(map(len, lines[i])) and repeats[i] in ends
            grows += 0 < repeats[i] < sum(map(len, lines[i]))
    often = sum(count > 0 for count in repeats) >= _OFTEN * (len(cues) - 1)
    if not often or not (rolls or grows >= _GROWING):
        return cues
    notes.append(f"rolling captions: {counted(sum(repeats), 'repeated word')} read once")
    return [_drop(cue, count) if count else cue for cue, count in zip(cues, repeats, strict=True)]


def _join_lines(cue: Sequence[TimedText]) -> list[list[str]]:
    """The lines that a cue shows, as words: its parts continue a line unless a line break is between them."""
    text = ""
    for part in cue:
        text += part.text if not text or part.text.startswith("\n") else f" {part.text}"
    return [words for line in text.split("\n") if (words := _words(line))]


def _words(text: str) -> list[str]:
    return [word for word in text.replace("\n", " ").split(" ") if word]


def _is_adjacent(before: Sequence[TimedText], cue: Sequence[TimedText]) -> bool:
    if not before or not cue or before[-1].end is None or cue[0].start is None:
        return False
    return cue[0].start - before[-1].end <= _ADJACENT


def _count_repeated(before: list[list[str]], lines: list[list[str]]) -> int:
    """How many of the first words of a cue are the last lines of the one before."""
    words = [word for line in lines for word in line]
    for i in range(max(0, len(before) - _MOST_LINES), len(before)):
        last = [word for line in before[i:] for word in line]
        if words[: len(last)] == last:
            return len(last)
    return 0


def _drop(cue: Sequence[TimedText], count: int) -> list[TimedText]:
    """A cue without its first `count` words."""
    rest: list[TimedText] = []
    for part in cue:
        words = _words(part.text)
        if count < len(words):
            rest.append(replace(part, text=" ".join(words[count:])) if count else part)
        count = max(0, count - len(words))
    return rest
