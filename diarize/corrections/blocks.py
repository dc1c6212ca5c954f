"""Texts of turns or subtitles that somebody changed, as operations on words, whose times the file does not have.

Both texts are compared word by word; in scripts without spaces letter by letter. Words that are the same stay, others
get their times from those that they replace, or from the words around them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from diarize.corrections.difference import Revision
from diarize.corrections.rewording import NEAR, fold
from diarize.corrections.state import EditedWord, State
from diarize.formats.tiers import Label
from diarize.text import split

_LONGEST = 3000  # tokens of a part in which frequent ones are compared, too


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    block: int
    chunk: int  # tokens with the same number have no space between them


def text_operations(before: Sequence[Label], after: Sequence[Label], state: State, result: Revision) -> None:
    """Operations that make the texts of `before`, an export of `state`, those of `after`. Speakers are ids here.

    Blocks that are the same in both anchor the comparison, so only what lies between them is compared by words.
    """
    words = _words_of_blocks(before, state)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind != "equal":
            _reword(before[i:j], words[i:j], after[k:m], result)


def _words_of_blocks(blocks: Sequence[Label], state: State) -> list[list[EditedWord]]:
    """The words of each block of an export, in the order of its text."""
    own: dict[str | None, list[EditedWord]] = defaultdict(list)
    for word in state.words:
        own[word.speaker].append(word)
    used: set[str] = set()
    result = []
    for block in blocks:
        words: list[EditedWord] = []
        rest = fold(block.text)
        candidates = own[block.speaker]
        for i in range(bisect_left(candidates, block.start - 5 * NEAR, key=lambda w: w.start), len(candidates)):
            word = candidates[i]
            if word.start > block.end + 5 * NEAR or not rest:
                break
            text = fold(word.text)
            if word.id not in used and text and rest.startswith(text):
                rest = rest[len(text) :]
                words.append(word)
                used.add(word.id)
        result.append(words)
    return result


def _tokens(blocks: Sequence[Label]) -> list[_Token]:
    tokens = []
    chunk = 0
    for number, block in enumerate(blocks):
        for part in block.text.split():
            tokens += [_Token(text, number, chunk) for text in split(part)]
            chunk += 1
    return tokens


def _reword(
    before: Sequence[Label], words: Sequence[Sequence[EditedWord]], after: Sequence[Label], result: Revision
) -> None:
    old, new = _tokens(before), _tokens(after)
    owner = _owners(old, before, words)
    all_words = [word for own in words for word in own]
    matcher = SequenceMatcher(
        None, [one.text for one in old], [one.text for one in new], autojunk=len(old) * len(new) > _LONGEST**2
    )
    regions = _whole_words([code[1:] for code in matcher.get_opcodes() if code[0] != "equal"], owner)

    # Words that stay, and whose speaker is another one now.
    target: dict[str, str | None] = {}
    for match in matcher.get_matching_blocks():
        for n in range(match.size):
            here, there = before[old[match.a + n].block], after[new[match.b + n].block]
            if here.speaker != there.speaker:
                for position in owner[match.a + n]:
                    target.setdefault(all_words[position].id, there.speaker)
    for i, j, k, m in regions:
        positions = sorted({position for token in owner[i:j] for position in token})
        texts = _join_chunks(new[k:m])
        if positions and len(positions) == len(texts):
            for position, (text, block) in zip(positions, texts, strict=True):
                word = all_words[position]
                if fold(text) != fold(word.text):
                    result.add({"op": "edit_word", "word": word.id, "text": text})
                if after[block].speaker != word.speaker:
                    target[word.id] = after[block].speaker
            continue
        for position in positions:
            target.pop(all_words[position].id, None)
            result.add({"op": "delete_word", "word": all_words[position].id})
        previous = max((p for token in owner[:i] for p in token), default=None)
        following = min((p for token in owner[j:] for p in token), default=None)
        _insert(
            texts,
            [all_words[p] for p in positions],
            None if previous is None else all_words[previous].end,
            None if following is None else all_words[following].start,
            after,
            result,
        )
    _reassign(target, result)


def _owners(
    tokens: Sequence[_Token], blocks: Sequence[Label], words: Sequence[Sequence[EditedWord]]
) -> list[tuple[int, ...]]:
    """For each token the positions of the words, in all words of the blocks, that it has letters of."""
    owners: list[tuple[int, ...]] = []
    offset = 0
    for number in range(len(blocks)):
        letters = [position for position, word in enumerate(words[number], offset) for _ in fold(word.text)]
        at = 0
        for token in (token for token in tokens if token.block == number):
            size = len(fold(token.text))
            owners.append(tuple(dict.fromkeys(letters[at : at + size])))
            at += size
        offset += len(words[number])
    return owners


def _whole_words(
    regions: Sequence[tuple[int, int, int, int]], owner: Sequence[tuple[int, ...]]
) -> list[tuple[int, int, int, int]]:
    """Regions of both texts that differ, widened so that none begins or ends inside a word."""
    result: list[tuple[int, int, int, int]] = []
    for i, j, k, m in regions:
        while 0 < i < len(owner) and set(owner[i - 1]) & set(owner[i]):
            i, k = i - 1, k - 1
        while 0 < j < len(owner) and set(owner[j - 1]) & set(owner[j]):
            j, m = j + 1, m + 1
        while result and (i < result[-1][1] or k < result[-1][3]):
            first = result.pop()
            i, j, k, m = min(first[0], i), max(first[1], j), min(first[2], k), max(first[3], m)
        result.append((i, j, k, m))
    return result


def _join_chunks(tokens: Sequence[_Token]) -> list[tuple[str, int]]:
    """Words with the number of their block: tokens without a space between them are one."""
    joined: dict[int, tuple[str, int]] = {}
    for token in tokens:
        text, block = joined.get(token.chunk, ("", token.block))
        joined[token.chunk] = (text + token.text, block)
    return list(joined.values())


def _insert(
    texts: Sequence[tuple[str, int]],
    replaced: Sequence[EditedWord],
    previous: int | None,
    following: int | None,
    blocks: Sequence[Label],
    result: Revision,
) -> None:
    """New words: in the time of those that they replace, else between the words around them, within their block."""
    duration = result.state.duration
    for block in dict.fromkeys(block for _, block in texts):
        own = [text for text, number in texts if number == block]
        if replaced:
            start, end = replaced[0].start, max(word.end for word in replaced)
        else:
            start = max(blocks[block].start, previous or 0)
            end = min(blocks[block].end, duration if following is None else following)
            if start > end and previous is not None:
                start = end = previous
        start = min(start, duration)
        end = min(max(start, end), duration)
        edges = [start + (end - start) * i // len(own) for i in range(len(own) + 1)]
        for n, text in enumerate(own):
            result.add(
                {
                    "op": "insert_word",
                    "start": edges[n],
                    "end": edges[n + 1],
                    "text": text,
                    "speaker": blocks[block].speaker,
                }
            )


def _reassign(target: dict[str, str | None], result: Revision) -> None:
    """Give words to their new speakers, with the part of the turn that is theirs."""
    state = result.state
    runs: list[list[EditedWord]] = []
    last: EditedWord | None = None
    for word in state.words:
        if word.id not in target or target[word.id] == word.speaker:
            if last is not None and word.speaker == last.speaker:
                last = None
            continue
        if last is not None and word.speaker == last.speaker and target[word.id] == target[last.id]:
            runs[-1].append(word)
        else:
            runs.append([word])
        last = word
    for run in runs:
        source = run[0].speaker
        start, end = run[0].start, max(max(word.end for word in run), run[0].start + 1)
        others = [word for word in state.words if word.speaker == source and word.id not in {w.id for w in run}]
        for turn in state.turns:
            if turn.speaker == source and turn.start < end and start < turn.end:
                if not any(turn.start <= word.start < start for word in others):
                    start = min(start, turn.start)
                if not any(end <= word.start < turn.end for word in others):
                    end = max(end, turn.end)
        result.add({"op": "assign", "start": start, "end": end, "from": source, "to": target[run[0].id]})
