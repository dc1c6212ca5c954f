"""One recording in, one labelled transcript out: `transcribe`, and in it who speaks when: `find_turns`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diarize import progress, timeline
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import bandwidth as bandwidths
from diarize.audio.reading import Recording
from diarize.clustering import constrained, constraints
from diarize.clustering.constraints import NO_CONSTRAINTS, Constraints
from diarize.config import ClusterConfig, Config
from diarize.errors import DiarizeError, OutputError, StageError
from diarize.guard import spoofing
from diarize.library.scoring.linking import Strangers
from diarize.library.scoring.people import Bandwidth, NamedSpeakers, name_speakers, voices_of
from diarize.speech import windows
from diarize.stages import (
    Clusterer,
    Countermeasure,
    Detector,
    Diarizer,
    Embedder,
    Identifier,
    Named,
    Recognizer,
    Segmenter,
    Words,
)
from diarize.turns import merging
from diarize.types import Audio, Provenance, Segment, SpeechTrack, SpoofScores, Transcript, Turn, Word, speakers_of
from diarize.units import round_time
from diarize.words import foreign, labelling, recognition

SUSPECTED = "spoofing is suspected, as the score is below the threshold of the settings"

Observer = Callable[[str], None]  # called with the name of each stage as it begins


@dataclass(frozen=True)
class NoSegmentation:
    """The `Segmenter` where there is no segmentation model: one speaker at a time."""

    name: str = ""

    def __call__(self, audio: Audio) -> LocalActivity:
        return NO_ACTIVITY


@dataclass(frozen=True)
class Stages:
    """The backends that work on one recording. `diarize`, if any, replaces the stages from segment to cluster."""

    detect: Detector | None
    embed: Embedder | None
    cluster: Clusterer | None
    segment: Segmenter = NoSegmentation()
    identify: Identifier | None = None  # None: nobody is enrolled
    recognize: Recognizer | None = None  # None: no words are wanted
    diarize: Diarizer | None = None
    spoof: Countermeasure | None = None  # None: no scores of spoofing are wanted
    bandwidth: Bandwidth = bandwidths.bandwidth  # of speech, which `identify` takes

    def bounded(self, clusterer: Clusterer, config: ClusterConfig) -> Stages:
        """The same with another number of speakers to find; nothing is loaded again."""
        diarize = self.diarize.bounded(config) if self.diarize is not None else None
        return replace(self, cluster=clusterer if self.cluster is not None else None, diarize=diarize)

    def observed(self, observe: Observer) -> Stages:
        """The same stages, each of which calls `observe` with its name when it begins."""
        names = ("segment", "detect", "embed", "cluster", "identify", "recognize", "diarize", "spoof")
        observed = {name: _observed(name, getattr(self, name), observe) for name in names}
        return replace(self, **observed, bandwidth=_observed("identify", self.bandwidth, observe))


@dataclass(frozen=True)
class Diarization:
    """Who speaks when, and the tracks from which that is known."""

    turns: tuple[Turn, ...]
    tracks: tuple[SpeechTrack, ...]

    @property
    def speech(self) -> tuple[Segment, ...]:
        return timeline.union(stretch for track in self.tracks for stretch in track.speech)

    @property
    def windows(self) -> tuple[Segment, ...]:
        """The windows of the recording that have embeddings."""
        return tuple(segment for track in self.tracks if track.voices is not None for segment in track.voices.segments)


def transcribe(
    recording: Recording,
    stages: Stages,
    config: Config,
    *,
    known: Constraints = NO_CONSTRAINTS,
    words: Words | None = None,
    product: str = "",
    observe: Observer = lambda stage: None,
) -> tuple[Transcript, Strangers | None]:
    """The labelled transcript of a decoded recording, with its provenance; and the voices of its unknown speakers.

    `known`: turns that are known; `words`: words from elsewhere, which are then not recognized. Raises StageError,
    which names the recording and the stage, for anything that goes wrong inside a stage.
    """
    audio = recording.audios[0]
    stage = "diarize"

    def enter(name: str) -> None:
        nonlocal stage
        stage = name
        observe(name)

    running = stages.observed(enter)
    try:
        imported = None if words is None else _observed("recognize", words, enter)()
        if imported is not None and config.label.speakers_from == "transcript":
            diarization = _turns_of_words(audio, imported[0], running, config)
        else:
            diarization = find_turns(recording.audios, running, config, known)
        people = _identify(diarization, running, config)
        spoof_scores = _score_spoofing(diarization, people, stages.spoof, enter, config)
        people = _withhold(people, spoof_scores)
        spoken, language = imported or _recognize(diarization.tracks, running)
        of_channels = words is None and any(track.speaker is not None for track in diarization.tracks)
        labelled = _label(spoken, people, of_channels, imported is not None, config)
    except (StageError, OutputError):  # of samples that are decoded only now
        raise
    except DiarizeError as error:
        raise StageError(audio.id, stage, str(error)) from error
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        raise StageError(audio.id, stage, f"{type(error).__name__}: {error}") from error
    transcript = Transcript(
        recording=audio.id,
        duration=round_time(audio.duration),
        language=language,
        speakers=people.speakers,
        turns=people.turns,
        words=tuple(replace(w, start=round_time(w.start), end=round_time(w.end)) for w in labelled),
        lost=audio.lost,
        spoofing=spoof_scores,
    )
    notes = (
        *notes_of(stages, known),
        *getattr(words, "notes", ()),
        *(foreign.describe(imported[0], labelled, config.label) if imported is not None else ()),
        *constraints.remarks(known, diarization.windows, diarization.speech, audio.duration),
        *_remarks(transcript, diarization.speech, stages.recognize is not None or words is not None, config),
        *(recognition.describe_misplaced(transcript.words, diarization.speech, transcript.duration) if words else ()),
    )
    if spoof_scores is not None:
        notes += (spoofing.describe(spoof_scores),)
    backends = _backends(stages, known, words)
    seeds = {name: getattr(backend, "seed", None) for name, backend in backends.items()}
    provenance = Provenance(
        product=product,
        source=recording.source,
        stages={name: backend.name for name, backend in backends.items()},
        settings=config.model_dump(
            mode="json", exclude={"run", "output"} if config.spoof.is_used else {"run", "output", "spoof"}
        ),
        notes=notes,
        seeds={name: seed for name, seed in seeds.items() if seed is not None},
    )
    return replace(transcript, provenance=provenance), people.strangers


def find_turns(
    channels: Sequence[Audio], stages: Stages, config: Config, known: Constraints = NO_CONSTRAINTS
) -> Diarization:
    """Who speaks when. `channels` has one item, unless each channel is taken for one speaker's track.

    Raises ValueError where the stages that this takes are missing.
    """
    if config.audio.channel == "per-channel":
        return _turns_of_channels(channels, stages, config)
    (audio,) = channels
    if stages.diarize is not None:
        return _turns_end_to_end(audio, stages, config)
    if stages.detect is None or stages.embed is None or stages.cluster is None:
        raise ValueError("turns need an end-to-end diarizer, or a detector, an embedder and a clusterer")
    activity = stages.segment(audio)  # empty where there is no segmentation model
    speech = stages.detect(audio, activity=activity)
    voices = stages.embed(audio, windows.over(speech, config.windows, activity), activity=activity)
    labels, known_turns = constrained.apply(stages.cluster(voices, activity), voices, known, config.cluster)
    turns = merging.merge(voices.segments, labels, speech, activity, known_turns, config.turns, config.segmentation)
    return Diarization(turns, (SpeechTrack(audio, speech, voices),))


def _turns_end_to_end(audio: Audio, stages: Stages, config: Config) -> Diarization:
    """Turns of an end-to-end diarizer; voices only where somebody is to be identified by them."""
    assert stages.diarize is not None
    turns = stages.diarize(audio)
    speech = timeline.union(turns)
    embed = stages.embed if stages.identify is not None and turns else None
    voices = None if embed is None else embed(audio, windows.over(speech, config.windows))
    return Diarization(turns, (SpeechTrack(audio, speech, voices),))


def _turns_of_words(audio: Audio, words: Sequence[Word], stages: Stages, config: Config) -> Diarization:
    """Turns of the speakers of words from a file; voices only where somebody is to be identified by them."""
    turns = foreign.turns_of(words, audio.duration, config.turns.gap)
    speech = timeline.union(turns)
    embed = stages.embed if stages.identify is not None and turns else None
    voices = None if embed is None else embed(audio, windows.over(speech, config.windows))
    return Diarization(turns, (SpeechTrack(audio, speech, voices),))


def _turns_of_channels(channels: Sequence[Audio], stages: Stages, config: Config) -> Diarization:
    """Each channel is one speaker's track (CHANNEL_0, CHANNEL_1, ...); silent channels are nobody."""
    if stages.detect is None:
        raise ValueError("channels as speakers need a detector")
    tracks = tuple(
        SpeechTrack(audio, stages.detect(audio, activity=stages.segment(audio)), speaker=f"CHANNEL_{number}")
        for number, audio in enumerate(progress.in_parts(channels))
    )
    turns = [
        Turn(round_time(stretch.start), round_time(stretch.end), track.speaker)
        for track in tracks
        if track.speaker is not None
        for stretch in timeline.union(track.speech, config.turns.gap)
    ]
    if stages.identify is not None and stages.embed is not None:
        embed = stages.embed
        tracks = tuple(
            replace(track, voices=embed(track.audio, windows.over(track.speech, config.windows)))
            if track.speech
            else track
            for track in progress.in_parts(tracks)
        )
    return Diarization(tuple(sorted(turns, key=lambda turn: (turn.start, turn.speaker))), tracks)


def _identify(diarization: Diarization, stages: Stages, config: Config) -> NamedSpeakers:
    """Who the speakers are, of the enrolled people."""
    turns = diarization.turns
    tracks = [track for track in diarization.tracks if track.voices is not None and track.voices.segments]
    if stages.identify is None or not turns or not tracks:
        return NamedSpeakers(speakers_of(turns), turns, {}, None)
    return name_speakers(turns, voices_of(turns, tracks, stages.bandwidth), stages.identify, config.turns.gap)


def _score_spoofing(
    diarization: Diarization,
    people: NamedSpeakers,
    countermeasure: Countermeasure | None,
    enter: Observer,
    config: Config,
) -> SpoofScores | None:
    """The scores of all speakers; those of a channel are taken from that channel."""
    if countermeasure is None:
        return None
    enter("spoof")
    parts = []
    for track in progress.in_parts(diarization.tracks):
        own = None if track.speaker is None else people.same.get(track.speaker, track.speaker)
        turns = [turn for turn in people.turns if own in (None, turn.speaker)]
        parts.append(spoofing.score_speakers(track.audio, turns, countermeasure, config.spoof.threshold))
    return replace(parts[0], windows=tuple(window for part in parts for window in part.windows))


def _withhold(people: NamedSpeakers, scores: SpoofScores | None) -> NamedSpeakers:
    """The same people, without the names of those whom the operator's threshold suspects."""
    if scores is None or scores.threshold is None:
        return people
    speakers = tuple(
        replace(each, name=None, voice=None, reason=f"not named: {SUSPECTED}") if scores.suspects(each.id) else each
        for each in people.speakers
    )
    return replace(people, speakers=speakers)


def _recognize(tracks: Sequence[SpeechTrack], stages: Stages) -> tuple[tuple[Word, ...], str | None]:
    """The words of the recording and its language; those of a channel carry its speaker."""
    if stages.recognize is None:
        return (), None
    recognize = stages.recognize
    results = [recognize(track.audio, track.speech) for track in progress.in_parts(tracks)]
    if tracks[0].speaker is None:
        return results[0]
    of_channels = [
        replace(w, speaker=track.speaker) for track, (own, _) in zip(tracks, results, strict=True) for w in own
    ]
    languages = Counter(language for _, language in results if language is not None)
    return (
        tuple(sorted(of_channels, key=lambda word: (word.start, word.end))),
        languages.most_common(1)[0][0] if languages else None,
    )


def _label(
    words: Sequence[Word], people: NamedSpeakers, of_channels: bool, of_file: bool, config: Config
) -> tuple[Word, ...]:
    """Each word with its speaker: by its channel; by the file of the words, if its speakers are to be used; else by
    the turns.
    """
    if of_channels or (of_file and config.label.speakers_from == "transcript"):
        words = tuple(replace(w, speaker=people.same.get(w.speaker or "", w.speaker)) for w in words)
        return words if of_channels else foreign.label(words, people.turns, config.label)
    return labelling.label(words, people.turns, config.label)


def _observed(name: str, stage: Any, observe: Observer) -> Any:
    """The stage as a function that calls `observe` first; None for none, and no call for one that does nothing."""
    if stage is None or isinstance(stage, NoSegmentation):
        return stage

    def run(*arguments: Any, **options: Any) -> Any:
        observe(name)
        return stage(*arguments, **options)

    return run


def _backends(stages: Stages, known: Constraints, words: Words | None) -> dict[str, Named]:
    """Stage -> the backend of it, of those that work on the recording."""
    backends: dict[str, Named | None] = {
        "segment": stages.segment if stages.segment.name else None,
        "detect": stages.detect,
        "embed": stages.embed,
        "known": known if known.name else None,
        "cluster": stages.cluster,
        "diarize": stages.diarize,
        "identify": stages.identify,
        "recognize": stages.recognize if words is None else words,
        "spoof": stages.spoof,
    }
    return {stage: backend for stage, backend in backends.items() if backend is not None}


def notes_of(stages: Stages, known: Constraints = NO_CONSTRAINTS) -> tuple[str, ...]:
    """What the backends say of how they run, as of a missing device, and what there is to know of known turns."""
    order = (
        stages.segment,
        stages.detect,
        stages.embed,
        known,
        stages.cluster,
        stages.identify,
        stages.recognize,
        stages.spoof,
    )
    return tuple(note for backend in (*order, stages.diarize) for note in getattr(backend, "notes", ()))


def _remarks(transcript: Transcript, speech: Sequence[Segment], has_words: bool, config: Config) -> tuple[str, ...]:
    """What a reader of the transcript should know about it."""
    remarks = recognition.describe_doubts(transcript.words, speech) if has_words else ()
    if not speech:
        remarks += ("no speech was found",)
    wanted, count = config.cluster.num_speakers, sum(1 + len(speaker.merged) for speaker in transcript.speakers)
    if wanted is not None and 0 < count < wanted and config.label.speakers_from != "transcript":
        remarks += (f"{wanted} speakers were requested, but there is only enough speech for {count}",)
    if config.audio.channel == "per-channel" and len(transcript.speakers) == 1:
        remarks += ("--channel per-channel, but only one channel is used: the whole recording is one speaker",)
    most = ClusterConfig().max_speakers
    if wanted is None and count == config.cluster.max_speakers == most:  # a bound that nobody chose
        remarks += (f"{most} speakers were found, which is the maximum: if there are more, raise --max-speakers",)
    return remarks
