"""One recording in, one labelled transcript out. The whole method is `hear`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from diarize import timeline
from diarize.activity import LocalActivity
from diarize.audio.bandwidth import bandwidth
from diarize.audio.reading import Recording
from diarize.clustering import constrained, constraints, spectral, splitting
from diarize.clustering.constraints import NOTHING, Constraints
from diarize.config import ClusterConfig, Config
from diarize.errors import DiarizeError, OutputError, StageError
from diarize.library.scoring import people as naming
from diarize.library.scoring.linking import Strangers
from diarize.library.scoring.people import Reach, Recognised
from diarize.speech import windows
from diarize.stages import (
    AdvisedDetector,
    Clusterer,
    Detector,
    Diarizer,
    Embedder,
    Identifier,
    InformedClusterer,
    Named,
    Recognizer,
    Segmenter,
    Words,
)
from diarize.turns import merging, overlap
from diarize.types import (
    Audio,
    Embeddings,
    Labels,
    Provenance,
    Segment,
    Speaker,
    Transcript,
    Turn,
    Word,
    speakers_of,
)
from diarize.units import round_time
from diarize.words import labelling, recognition

Watch = Callable[[str], None]  # told the name of each stage as it begins


@dataclass(frozen=True)
class Stages:
    """Everything that works on one recording. `diarize`, where given, replaces the stages from detect to cluster."""

    detect: Detector | None
    embed: Embedder | None
    cluster: Clusterer
    identify: Identifier | None = None  # None: nobody is enrolled
    recognize: Recognizer | None = None  # None: no words are wanted
    given: Words | None = None  # the words of the whole recording, from elsewhere: then nothing is recognized
    diarize: Diarizer | None = None
    segment: Segmenter | None = None  # None: one speaker at a time
    hear: Embedder | None = None  # hears speakers for `identify` where turns are made without an embedder
    known: Constraints = NOTHING  # what is known of who speaks
    reach: Reach = bandwidth  # up to which frequency speech goes, which `identify` wants to know

    def bounded(self, clusterer: Clusterer, config: ClusterConfig) -> Stages:
        """The same with another number of speakers to find; nothing is loaded again."""
        diarize = self.diarize.bounded(config) if self.diarize is not None else None
        return replace(self, cluster=clusterer, diarize=diarize)

    def notes(self) -> tuple[str, ...]:
        """What the backends say of how they run, as of a missing device, and what there is to know of known turns."""
        heard = (self.segment, self.detect, self.embed, self.hear, self.known, self.cluster)
        backends = (*heard, self.identify, self.recognize, self.diarize)
        return tuple(note for backend in backends for note in getattr(backend, "notes", ()))

    def names(self) -> dict[str, str]:
        """Stage -> identity of the backend, of those that run."""
        return {stage: backend.name for stage, backend in self._used().items()}

    def seeds(self) -> dict[str, int]:
        """Stage -> what the random numbers of its backend begin with, of those that draw any and say so."""
        found = {stage: getattr(backend, "seed", None) for stage, backend in self._used().items()}
        return {stage: seed for stage, seed in found.items() if seed is not None}

    def _used(self) -> dict[str, Named]:
        used: dict[str, Named | None] = {
            "segment": self.segment if self.embed is not None else None,
            "detect": self.detect,
            "embed": self.embed if self.embed is not None else self.hear,
            "known": self.known if self.known.name else None,
            "cluster": self.cluster if self.embed is not None else None,
            "diarize": self.diarize,
            "identify": self.identify,
            "recognize": self.recognize if self.given is None else self.given,
        }
        return {stage: backend for stage, backend in used.items() if backend is not None}


@dataclass(frozen=True)
class Heard:
    """What the stages found in a recording."""

    speech: tuple[Segment, ...]
    speakers: tuple[Speaker, ...]
    turns: tuple[Turn, ...]
    words: tuple[Word, ...]
    language: str | None
    strangers: Strangers | None = None  # whom `identify` did not know
    notes: tuple[str, ...] = ()  # what was known and could not be heeded


def hear(audio: Audio, stages: Stages, config: Config, watch: Watch) -> Heard:
    """The method, whole: who said what, when."""
    speech, spoken, voices = turns_of(audio, stages, config, watch)
    people = Recognised(speakers_of(spoken), spoken, {}, None)
    if stages.identify is not None and spoken:
        if voices is None and stages.hear is not None:
            watch("embed")
            voices = stages.hear(audio, windows.over(speech, config.windows))
        if voices is not None:
            watch("identify")
            heard = naming.heard(audio, speech, spoken, voices, stages.reach)
            people = naming.recognise(spoken, heard, stages.identify, config.turns.gap)
    words, language = _words(audio, speech, stages, watch)
    labelled = labelling.label(words, people.turns, config.label)
    heeded = voices.segments if voices is not None else ()
    notes = constraints.remarks(stages.known, heeded, speech, audio.duration)
    return Heard(speech, people.speakers, people.turns, labelled, language, people.strangers, notes)


def turns_of(
    audio: Audio, stages: Stages, config: Config, watch: Watch
) -> tuple[tuple[Segment, ...], tuple[Turn, ...], Embeddings | None]:
    """Who speaks when: (speech, turns, one embedding a window; None from an end-to-end diarizer)."""
    if stages.diarize is not None:
        watch("diarize")
        spoken = stages.diarize(audio)
        return timeline.union(spoken), spoken, None
    if stages.detect is None or stages.embed is None:
        raise ValueError("turns need an end-to-end diarizer, or a detector and an embedder")
    if stages.segment is None:
        watch("detect")
        speech = stages.detect(audio)
        watch("embed")
        voices = stages.embed(audio, windows.over(speech, config.windows))
        watch("cluster")
        labels, owner = _clustered(voices, stages, config)
        spoken = merging.merge(voices.segments, labels, speech, config.turns)
        return speech, _pinned(spoken, speech, voices, labels, owner, stages, config), voices
    watch("segment")
    activity = stages.segment(audio)
    watch("detect")
    speech = _advised(stages.detect, audio, activity.spoken(config.segmentation.sure))
    watch("embed")
    voices = stages.embed(audio, windows.over(speech, config.windows))
    watch("cluster")
    labels, owner = _clustered(voices, stages, config, activity)
    spoken = overlap.merge(voices.segments, labels, speech, activity, config.segmentation, config.turns)
    return speech, _pinned(spoken, speech, voices, labels, owner, stages, config), voices


def _clustered(
    voices: Embeddings, stages: Stages, config: Config, activity: LocalActivity | None = None
) -> tuple[Labels, Labels]:
    """The label of each window, as it is known; and who is known to have it, -1 for nobody."""
    fewest, most = spectral.bounds(config.cluster, len(voices.segments))
    owner = constraints.carried(voices.segments, stages.known)
    if isinstance(stages.cluster, InformedClusterer):
        heard = splitting.tracks(voices.segments, activity) if activity is not None else None
        present = partial(splitting.present, activity) if activity is not None else None
        labels = stages.cluster.informed(voices.vectors, voices.model, heard, present)
    else:
        labels = stages.cluster(voices.vectors)
    if activity is not None:
        labels = splitting.clusters(voices, labels, activity, config.segmentation, most)
    return constrained.obey(voices.vectors, labels, owner, stages.known.apart, fewest, most), owner


def _pinned(
    spoken: tuple[Turn, ...],
    speech: tuple[Segment, ...],
    voices: Embeddings,
    labels: Labels,
    owner: Labels,
    stages: Stages,
    config: Config,
) -> tuple[Turn, ...]:
    return constrained.pin(spoken, speech, stages.known, voices.segments, labels, owner, config.turns.gap)


def _advised(detect: Detector, audio: Audio, likely: Sequence[Segment]) -> tuple[Segment, ...]:
    """Speech, from a detector that takes advice or one that does not."""
    return detect.advised(audio, likely) if isinstance(detect, AdvisedDetector) else detect(audio)


def hear_channels(channels: Sequence[Audio], stages: Stages, config: Config, watch: Watch) -> Heard:
    """Each channel is one speaker's line (CHANNEL_0, CHANNEL_1, ...), recognized by itself; silent ones are nobody.

    Words from elsewhere belong to no channel: they are labelled by the turns.
    """
    if stages.detect is None:
        raise ValueError("channels as speakers need a detector")
    lines: dict[str, tuple[Segment, ...]] = {}
    for number, audio in enumerate(channels):
        watch("detect")
        lines[f"CHANNEL_{number}"] = stages.detect(audio)
    talk = [
        Turn(round_time(stretch.start), round_time(stretch.end), id)
        for id, line in lines.items()
        for stretch in timeline.union(line, config.turns.gap)
    ]
    spoken = tuple(sorted(talk, key=lambda turn: (turn.start, turn.speaker)))
    if stages.given is not None:
        given, language = _words(channels[0], (), stages, watch)
        words = labelling.label(given, spoken, config.label)
    else:
        heard = [_words(audio, line, stages, watch) for audio, line in zip(channels, lines.values(), strict=True)]
        labelled = (replace(word, speaker=id) for id, (own, _) in zip(lines, heard, strict=True) for word in own)
        words = tuple(sorted(labelled, key=lambda word: (word.start, word.end)))
        languages = Counter(spoke for _, spoke in heard if spoke is not None)
        language = languages.most_common(1)[0][0] if languages else None
    speech = timeline.union(stretch for line in lines.values() for stretch in line)
    people = Recognised(speakers_of(talk), spoken, {}, None)
    if stages.identify is not None and stages.hear is not None and spoken:
        watch("embed")
        voices = [
            (id, audio, line, stages.hear(audio, windows.over(line, config.windows)))
            for (id, line), audio in zip(lines.items(), channels, strict=True)
            if line
        ]
        watch("identify")
        people = naming.recognise(spoken, naming.heard_alone(voices, stages.reach), stages.identify, config.turns.gap)
        words = tuple(replace(w, speaker=people.same.get(w.speaker or "", w.speaker)) for w in words)
    return Heard(speech, people.speakers, people.turns, words, language, people.strangers)


def transcribe(
    recording: Recording, stages: Stages, config: Config, product: str = "", watch: Watch = lambda stage: None
) -> Transcript:
    """`recognise` without the voices of those whom nobody knows."""
    return recognise(recording, stages, config, product, watch)[0]


def recognise(
    recording: Recording, stages: Stages, config: Config, product: str = "", watch: Watch = lambda stage: None
) -> tuple[Transcript, Strangers | None]:
    """The labelled transcript of a decoded recording, with its provenance; and the voices of its unknown speakers.

    Raises StageError, which names the recording and the stage, for anything that goes wrong inside a stage.
    """
    audio = recording.audios[0]
    stage = "diarize"

    def enter(name: str) -> None:
        nonlocal stage
        stage = name
        watch(name)

    try:
        if config.audio.channel == "per-channel":
            heard = hear_channels(recording.audios, stages, config, enter)
        else:
            heard = hear(audio, stages, config, enter)
    except (StageError, OutputError):  # of samples that are decoded only now
        raise
    except DiarizeError as error:
        raise StageError(audio.id, stage, str(error)) from error
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        raise StageError(audio.id, stage, f"{type(error).__name__}: {error}") from error
    transcript = Transcript(
        recording=audio.id,
        duration=round_time(audio.duration),
        language=heard.language,
        speakers=heard.speakers,
        turns=heard.turns,
        words=tuple(replace(w, start=round_time(w.start), end=round_time(w.end)) for w in heard.words),
        lost=audio.lost,
        provenance=Provenance(
            product=product,
            source=recording.source,
            stages=stages.names(),
            settings=config.model_dump(mode="json", exclude={"run", "output"}),
            notes=(*stages.notes(), *heard.notes, *_remarks(heard, stages, config)),
            seeds=stages.seeds(),
        ),
    )
    return transcript, heard.strangers


def _words(
    audio: Audio, speech: Sequence[Segment], stages: Stages, watch: Watch
) -> tuple[tuple[Word, ...], str | None]:
    if stages.given is not None:
        watch("recognize")
        return stages.given()
    if stages.recognize is None:
        return (), None
    watch("recognize")
    return stages.recognize(audio, speech)


def _remarks(heard: Heard, stages: Stages, config: Config) -> tuple[str, ...]:
    """What a reader of the transcript should know about it."""
    worded = stages.recognize is not None or stages.given is not None
    remarks = recognition.remarks(heard.words, heard.speech) if worded else ()
    if not heard.speech:
        remarks += ("no speech was found",)
    wanted, found = config.cluster.num_speakers, sum(1 + len(speaker.merged) for speaker in heard.speakers)
    if wanted is not None and 0 < found < wanted:
        remarks += (f"{wanted} speakers were asked for, but there is speech enough for {found} only",)
    if config.audio.channel == "per-channel" and len(heard.speakers) == 1:
        remarks += ("one speaker a channel was asked for, and only one channel was heard: all of it is one speaker",)
    most = ClusterConfig().max_speakers
    if wanted is None and found == config.cluster.max_speakers == most:  # a bound that nobody chose
        remarks += (f"{most} speakers were found, and no more are looked for: if there are, raise --max-speakers",)
    return remarks
