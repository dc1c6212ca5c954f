"""Moonshine in ONNX Runtime: English words, on our own samples and speech segments (docs/method/words.md).

Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands" (arXiv 2410.15608).
Its encoder computes as many frames as the sound needs, so short utterances are not padded to 30 s. Word times come
from the cross attention of the decoder, as Whisper's do.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import files, progress
from diarize.audio import excerpts
from diarize.backends import onnx_sessions
from diarize.backends.graphs import ort_format
from diarize.config import AsrConfig
from diarize.errors import ConfigError, ModelRefused
from diarize.types import Audio, Samples, Segment, Word
from diarize.units import RATE, round_time, to_samples
from diarize.words import alignment, recognition

LANGUAGE = "en"
LONGEST = 20.0  # s decoded at once; in 12 s, more words are wrong
PAUSE = 2.0  # s; shorter pauses stay inside a chunk, for context
MARGIN = 0.25  # s of sound before and after a chunk, up to half of the pause there: the detector cuts quiet consonants
SHORTEST = 0.3  # s; a shorter chunk is padded with silence: the encoder needs some frames

TOKENS = 6.5  # tokens a second at most, as the authors' own code limits them: more are a repetition
CHECKED = 8  # tokens after which the text is searched for a repetition again
FRAME = 384 / RATE  # s, of the encoder
LATE = 0.02  # s; the frames of a token begin this much before it, on average

# (layer, head) of the cross attentions that follow the sound best. Each head alone was compared with the word times of
# 25 utterances of libri-dev; more or other good heads make no difference beyond 5 ms.
HEADS = ((3, 5), (4, 7), (5, 3), (5, 4), (5, 6), (5, 7))
LAYERS = tuple(sorted({layer for layer, _ in HEADS}))
_ATTENTION = "/model/decoder/layers.{}/encoder_attn/Softmax_output_0"

_BEGIN, _END = 1, 2  # tokens
_ENCODER, _DECODER, _TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
_SPACE = "\u2581"  # begins a token that begins a word


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tokens of one chunk, their log-probabilities, and the first frame of each and of what follows the last."""

    tokens: tuple[int, ...]
    scores: tuple[float, ...]
    frames: tuple[int, ...]


class Moonshine:
    """A `Recognizer`. Chunks are decoded one by one, in as many threads as there are cores.

    Weights and activations are 8-bit integers, scaled by the values of a whole input: in a batch, a chunk's words would
    depend on the chunks beside it.
    """

    def __init__(self, network: Network, vocabulary: Sequence[bytes], name: str, notes: tuple[str, ...], threads: int):
        self.name, self.notes = name, notes
        self._network, self._vocabulary, self._threads = network, vocabulary, threads

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str]:
        """Words by time, and "en". Raises AudioError if the audio is not at 16 kHz."""
        onnx_sessions.check_rate(audio, RATE, "Moonshine")
        samples = audio.samples
        chunks = recognition.chunks(samples, RATE, speech, LONGEST, PAUSE)
        with_margins = list(zip(chunks, _with_margins(chunks), strict=True))

        def words(item: tuple[Segment, Segment]) -> list[Word]:
            chunk, excerpt = item
            inside = [segment for segment in speech if segment.start < chunk.end and segment.end > chunk.start]
            return list(self._words(samples, chunk, excerpt, inside))

        results = onnx_sessions.map_in_order(words, with_margins, self._threads, samples)
        results = progress.reported(results, list(itertools.accumulate(chunk.duration for chunk in chunks)))
        return tuple(word for result in results for word in result), LANGUAGE

    def _words(self, samples: Samples, chunk: Segment, excerpt: Segment, speech: Sequence[Segment]) -> Iterator[Word]:
        first, last = to_samples(excerpt.start), to_samples(excerpt.end)
        sound = excerpts.cut(samples, first, max(last, first + to_samples(SHORTEST)))
        if not sound.any():
            return
        decoded = self._network.decode(sound, self._repeats)
        times = [excerpt.start + LATE + frame * FRAME for frame in decoded.frames]
        for text, begin, end in split_words(decoded.tokens, self._vocabulary):
            # Times are limited to the chunk, and to the speech in it.
            start, stop = (min(max(time, chunk.start), chunk.end) for time in (times[begin], times[end]))
            start, stop = alignment.fit_to_speech(start, stop, speech)
            start = min(round_time(start), chunk.end)
            stop = min(max(round_time(stop), start), chunk.end)
            yield Word(start, stop, text, float(np.exp(sum(decoded.scores[begin:end]) / (end - begin))))

    def _repeats(self, tokens: Sequence[int]) -> bool:
        """Whether the text ends in a phrase that is repeated many times."""
        texts = split_words(tokens, self._vocabulary)
        words = [Word(float(i), i + 1.0, text, 1.0) for i, (text, _, _) in enumerate(texts)]
        return any(loop.end == len(words) for loop in recognition.find_loops(words))


class Network:
    """Encoder and decoder. The decoder is one file with a branch for the first token and one for all others."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelRefused if the files of `folder` are not those of a Moonshine model."""
        decoder, path = ort_format.load(folder / _DECODER), str(folder / _DECODER)
        attention = [_ATTENTION.format(layer) for layer in LAYERS]
        with onnx_sessions.refuse_other_models(folder, "it is not a Moonshine model that ONNX Runtime can run"):
            self._encoder = onnx_sessions.open_session(folder / _ENCODER)
            self._first = onnx_sessions.open_session(ort_format.cut(decoder, path, attention, "else_branch"))
            self._next = onnx_sessions.open_session(ort_format.cut(decoder, path, attention, "then_branch"))
        past = [value.name for value in self._next.get_inputs() if value.name.startswith("past_key_values.")]
        growing = [name for name in past if ".decoder." in name]
        self._past, self._growing = past, growing
        outputs = ["logits", *attention]
        self._first_outputs = [*outputs, *(name.replace("past_key_values", "present") for name in past)]
        self._next_outputs = [*outputs, *(name.replace("past_key_values", "present") for name in growing)]

    def decode(self, sound: Samples, repeats: Callable[[Sequence[int]], bool]) -> Decoded:
        """The most probable token at each step, for samples (n,) at 16 kHz, until the end of the text.

        `repeats` tells whether the tokens so far end in a repetition, where decoding stops, too.
        """
        mask = np.ones((1, len(sound)), dtype=np.int64)
        (hidden,) = self._encoder.run(["last_hidden_state"], {"input_values": sound[None], "attention_mask": mask})
        inputs: dict[str, NDArray[Any]] = {
            "encoder_hidden_states": hidden,
            "encoder_attention_mask": mask,
            "input_ids": np.array([[_BEGIN]], dtype=np.int64),
        }
        most = max(1, int(len(sound) / RATE * TOKENS))
        results = self._first.run(self._first_outputs, inputs)
        values = 1 + len(LAYERS)  # logits and attentions; then what the next step needs
        inputs |= zip(self._past, results[values:], strict=True)
        tokens: list[int] = []
        scores: list[float] = []
        rows = [_attention_of(results[1:values])]  # row i: where the decoder looks for token i
        while True:
            token, score = _best(results[0][0, -1])
            if token == _END:
                break
            tokens.append(token)
            scores.append(score)
            if len(tokens) == most or (len(tokens) % CHECKED == 0 and repeats(tokens)):
                break
            inputs["input_ids"] = np.array([[token]], dtype=np.int64)
            results = self._next.run(self._next_outputs, inputs)
            inputs |= zip(self._growing, results[values:], strict=True)
            rows.append(_attention_of(results[1:values]))
        frames = alignment.first_frames(np.stack(rows)).tolist()
        if len(rows) == len(tokens):  # without the end of the text, the last token lasts until the end of the sound
            frames.append(hidden.shape[1])
        return Decoded(tuple(tokens), tuple(scores), tuple(frames))


def load(model: Path, config: AsrConfig | None = None, digest: str = "", threads: int = 0) -> Moonshine:
    """The recognizer of a folder with encoder, decoder and tokenizer; English only.

    `digest` is that of its files, if the caller knows it; `threads` 0: one for each core. Raises ConfigError for
    another language, ModelRefused if the files are not those of a Moonshine model.
    """
    check(config or AsrConfig())
    network = Network(model)
    vocabulary = read_vocabulary(model / _TOKENIZER)
    if not digest:
        digests = sorted(files.sha256(model / name) for name in (_ENCODER, _DECODER, _TOKENIZER))
        digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    name = f"moonshine/{model.name}/{digest[:16]}/longest={LONGEST:g},pause={PAUSE:g},margin={MARGIN:g}"
    return Moonshine(network, vocabulary, name, (), onnx_sessions.count_threads(threads))


def check(config: AsrConfig, **_: object) -> None:
    """Raises ConfigError for another language than English."""
    if config.language not in (None, LANGUAGE):
        raise ConfigError(
            "settings",
            "asr.language",
            f"Moonshine knows English only, not {config.language!r}",
            "For other languages use Whisper: pip install 'diarize-pipeline[whisper]', then "
            "diarize models pull whisper-small, then --asr whisper:small; for no words: --asr none.",
        )


def read_vocabulary(path: Path) -> tuple[bytes, ...]:
    """The tokens of a `tokenizer.bin` by number. Raises ModelRefused if the file is damaged.

    Each is its length and its bytes. A length of 128 or more has two bytes: the first minus 128, plus 128 times the
    second.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefused(str(path), f"it cannot be read ({error.strerror})") from error
    tokens: list[bytes] = []
    at = 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128 and at < len(data):
            length, at = length - 128 + 128 * data[at], at + 1
        tokens.append(data[at : at + length])
        at += length
    if at != len(data) or len(tokens) <= _END:
        raise ModelRefused(str(path), "it is not a complete list of tokens")
    return tuple(tokens)


def split_words(tokens: Sequence[int], vocabulary: Sequence[bytes]) -> list[tuple[str, int, int]]:
    """Words as (text, first token, token after the last). Tokens that are no text, as <unk>, are left out.

    A token that begins with a space (U+2581) begins a word; punctuation belongs to the word before it. Bytes that are
    no UTF-8 become U+FFFD.
    """
    space = _SPACE.encode()
    words: list[tuple[bytes, int, int]] = []
    for i, token in enumerate(tokens):
        text = vocabulary[token] if token < len(vocabulary) else b""
        if len(text) > 2 and text.startswith(b"<") and text.endswith(b">"):
            byte = text[1:-1]
            text = bytes([int(byte[2:], 16)]) if len(byte) == 4 and byte.startswith(b"0x") else b""
        if words and not text.startswith(space):
            before, first, _ = words[-1]
            words[-1] = before + text, first, i + 1
        else:
            words.append((text, i, i + 1))
    texts = ((word.decode(errors="replace").replace(_SPACE, " ").split(), first, end) for word, first, end in words)
    return [(" ".join(parts), first, end) for parts, first, end in texts if parts]


def _best(logits: NDArray[np.floating]) -> tuple[int, float]:
    """The most probable token and its log-probability."""
    values = logits.astype(np.float64)
    token = int(values.argmax())
    return token, -float(np.log(np.exp(values - values[token]).sum()))


def _attention_of(layers: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Cross attention of the last token (heads, frames), of `HEADS`."""
    return np.stack([layers[LAYERS.index(layer)][0, head, -1] for layer, head in HEADS])


def _with_margins(chunks: Sequence[Segment]) -> Iterator[Segment]:
    """Each chunk with `MARGIN` on both sides, at most half of the pause to the next; the first may begin below 0."""
    for i, chunk in enumerate(chunks):
        before = chunk.start - chunks[i - 1].end if i else 2 * MARGIN
        after = chunks[i + 1].start - chunk.end if i + 1 < len(chunks) else 2 * MARGIN
        yield Segment(max(chunk.start - min(MARGIN, before / 2), 0.0), chunk.end + min(MARGIN, after / 2))
