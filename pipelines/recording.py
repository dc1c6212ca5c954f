"""One recording in, one labelled transcript out. The whole method is `turns_of` and `transcribe`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from diarize.audio import Recording

from diarize import asr, label, timeline, turns, windows
from diarize.config import Config
from diarize.errors import DiarizeError, StageError
from diarize.stages import Clusterer, Detector, Diarizer, Embedder, Identifier, Recognizer
from diarize.types import (
    Audio,
    Candidate,
    Embeddings,
    Provenance,
    Segment,
    Speaker,
    Transcript,
    Turn,
    Word,
    speakers_of,
)
from diarize.units import round_time
from diarize.voices import pool

Watch = Callable[[str], None]  # told the name of each stage as it begins


@dataclass(frozen=True)
class Stages:
    """Everything that works on one recording. `diarize`, where given, replaces the stages from detect to cluster."""

    detect: Detector
    embed: Embedder
    cluster: Clusterer
    identify: Identifier | None = None  # None: nobody is enrolled
    recognize: Recognizer | None = None  # None: no words are wanted
    diarize: Diarizer | None = None

    def names(self) -> dict[str, str]:
        """Stage -> identity of the backend, of those that run."""
        used = (
            {"diarize": self.diarize}
            if self.diarize is not None
            else {"detect": self.detect, "embed": self.embed, "cluster": self.cluster}
        )
        used |= {"identify": self.identify, "recognize": self.recognize}
        return {stage: backend.name for stage, backend in used.items() if backend is not None}


def turns_of(
    audio: Audio, stages: Stages, config: Config, watch: Watch
) -> tuple[tuple[Segment, ...], tuple[Turn, ...], Embeddings | None]:
    """Who speaks when: (speech, turns, one embedding a window; None from an end-to-end diarizer)."""
    if stages.diarize is not None:
        watch("diarize")
        spoken = stages.diarize(audio)
        return timeline.union(spoken), spoken, None
    watch("detect")
    speech = stages.detect(audio)
    watch("embed")
    voices = stages.embed(audio, windows.over(speech, config.windows))
    watch("cluster")
    labels = stages.cluster(voices.vectors)
    return speech, turns.merge(voices.segments, labels, speech, config.turns), voices


def transcribe(
    recording: Recording, stages: Stages, config: Config, product: str = "", watch: Watch = lambda stage: None
) -> Transcript:
    """Who said what, when, in one recording.

    With one channel a speaker (`audio.channel = "per-channel"`) each channel is its own speaker and is recognized by
    itself. Raises StageError, which names the recording and the stage, for anything that goes wrong inside a stage.
    """
    first = recording.audios[0]
    stage = "diarize"

    def enter(name: str) -> None:
        nonlocal stage
        stage = name
        watch(name)

    try:
        if len(recording.audios) > 1:
            speakers, spoken, words, language = _by_channel(recording.audios, stages, config, enter)
        else:
            speech, spoken, voices = turns_of(first, stages, config, enter)
            speakers = speakers_of(spoken)
            if stages.identify is not None and voices is not None and speakers:
                enter("identify")
                candidates = stages.identify(pool(speakers, spoken, voices))
                speakers = tuple(map(named, speakers, candidates))
            enter("recognize")
            words, language = _words(first, speech, stages.recognize)
            enter("label")
            words = label.label(words, spoken, config.label)
    except DiarizeError as error:
        raise StageError(first.id, stage, str(error)) from error
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        raise StageError(first.id, stage, f"{type(error).__name__}: {error}") from error
    notes = (*recording.source.notes, *_remarks(words, spoken, config))
    return Transcript(
        recording=first.id,
        duration=round_time(first.duration),
        language=language,
        speakers=speakers,
        turns=spoken,
        words=tuple(replace(w, start=round_time(w.start), end=round_time(w.end)) for w in words),
        lost=first.lost,
        provenance=Provenance(
            product=product,
            source=recording.source,
            stages=stages.names(),
            settings=config.model_dump(exclude={"run", "output"}),
            notes=notes,
        ),
    )


def named(speaker: Speaker, candidates: tuple[Candidate, ...]) -> Speaker:
    """The speaker with the best candidate's name; unknown where there is none."""
    return replace(speaker, name=candidates[0].name if candidates else None, candidates=candidates)


def _words(
    audio: Audio, speech: Sequence[Segment], recognize: Recognizer | None
) -> tuple[tuple[Word, ...], str | None]:
    """Words and language; a recognizer is never shown a recording without speech, where it would invent some."""
    return ((), None) if recognize is None or not speech else recognize(audio, speech)


def _by_channel(
    channels: Sequence[Audio], stages: Stages, config: Config, watch: Watch
) -> tuple[tuple[Speaker, ...], tuple[Turn, ...], tuple[Word, ...], str | None]:
    """Each channel is one speaker's line: (speakers, turns, words, language)."""
    spoken: list[Turn] = []
    words: list[Word] = []
    languages: list[str] = []
    for number, audio in enumerate(channels, start=1):
        id = f"CHANNEL_{number}"
        watch("detect")
        speech = stages.detect(audio)
        own = timeline.union(speech, config.turns.gap)
        spoken += [Turn(round_time(s.start), round_time(s.end), id) for s in own]
        watch("recognize")
        heard, language = _words(audio, speech, stages.recognize)
        words += [replace(word, speaker=id) for word in heard]
        languages += [language] if language is not None else []
    spoken.sort()
    words.sort(key=lambda word: (word.start, word.end))
    language = Counter(languages).most_common(1)[0][0] if languages else None
    return speakers_of(spoken), tuple(spoken), tuple(words), language


def _remarks(words: Sequence[Word], spoken: Sequence[Turn], config: Config) -> tuple[str, ...]:
    """What a reader of the transcript should know about it."""
    remarks = [
        f"the same words over and over from {loop.start:.1f} s to {loop.end:.1f} s: probably invented by the recognizer"
        for loop in asr.loops(words)
    ]
    wanted, found = config.cluster.num_speakers, len({turn.speaker for turn in spoken})
    if wanted is not None and spoken and found < wanted and config.diarizer is None:
        remarks.append(f"{wanted} speakers were asked for, but there is speech enough for {found} only")
    return tuple(remarks)
