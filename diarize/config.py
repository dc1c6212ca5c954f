"""Every setting, once: a frozen model per stage, each default with its unit and the reason for it.

Files are TOML, one table per section; unknown keys are refused. Times are seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diarize import files
from diarize.errors import ConfigError, FormatError

Device = Literal["auto", "cpu", "cuda"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class AudioConfig(Section):
    """Decoding (docs/method/decoding.md)."""

    channel: str = Field(
        "auto",
        pattern=r"^(auto|mix|per-channel|[0-9]+)$",
        description="auto looks at the channels first; mix averages all; N takes the N-th, from 0; per-channel treats "
        "each as one speaker's line",
    )


class VadConfig(Section):
    """Voice activity detection (docs/method/speech.md)."""

    backend: str = Field("silero", description="silero, energy, or module:factory")
    threshold: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="probability at which speech begins; measured: at silero's usual 0.5 a quarter of quiet meetings "
        "is missed",
    )
    off_threshold: float = Field(
        0.14,
        gt=0,
        lt=1,
        description="probability under which speech ends; lower than threshold, so that it does not flicker",
    )
    likely_threshold: float = Field(
        0.06,
        gt=0,
        lt=1,
        description="probability that is speech where the segmentation is sure of it; silero alone misses a tenth of "
        "quiet meetings, and at less than this pauses become speech",
    )
    doubted_threshold: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="the same where little of what the segmentation is sure of has a high probability, as in quiet "
        "meetings: there silero misses speech that the segmentation hears",
    )
    min_speech: float = Field(0.1, ge=0, description="s; a shorter burst is a click or a breath, seldom a word")
    min_silence: float = Field(
        0.2, ge=0, description="s; a shorter pause belongs to the speech around it, as references count it"
    )
    pad: float = Field(0.0, ge=0, description="s added at both ends; costs more false alarm than it saves misses")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.off_threshold > self.threshold:
            raise ValueError(f"off_threshold ({self.off_threshold}) may not exceed threshold ({self.threshold})")
        return self


class WindowsConfig(Section):
    """Windows over speech, one embedding each (docs/method/windows.md)."""

    length: float = Field(1.6, gt=0, description="s; what the GE2E model was trained on")
    hop: float = Field(0.8, ge=0.01, description="s between the starts of two windows; less only costs")

    @model_validator(mode="after")
    def _gapless(self) -> Self:
        if self.hop > self.length:
            raise ValueError(f"hop ({self.hop}) may not exceed length ({self.length}): speech between would be lost")
        return self


class EmbedderConfig(Section):
    """Speaker embeddings (docs/method/embeddings.md)."""

    backend: str = Field(
        "auto", description="auto, ge2e, a model of the store, a path to an .onnx file, or module:factory"
    )
    batch: int = Field(
        16, ge=1, description="windows that each thread computes at once; more is no faster and takes more memory"
    )


class ClusterConfig(Section):
    """Spectral clustering (docs/method/clustering.md)."""

    num_speakers: int | None = Field(None, ge=1, description="the count, where it is known; goes before the bounds")
    min_speakers: int = Field(1, ge=1, description="fewest speakers to find")
    max_speakers: int = Field(20, ge=1, description="most speakers to find")
    neighbours: int = Field(
        10, ge=2, description="fewest neighbours of a window in the graph; fewer let it fall apart when windows are few"
    )
    split: float = Field(
        0.72, description="likeness to the rest of its cluster under which a part of it is a speaker of its own"
    )
    merge: float = Field(0.8, description="likeness over which two clusters are one speaker")
    single: float = Field(
        0.88, description="likeness over which the last two clusters are one: recordings of one speaker are rarer"
    )
    separation: float = Field(
        5.0, ge=0, description="standard deviations between two clusters under which they are one speaker"
    )
    min_windows: int = Field(4, ge=1, description="fewest windows of a speaker split off another's cluster")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_speakers > self.max_speakers:
            raise ValueError(f"min_speakers ({self.min_speakers}) may not exceed max_speakers ({self.max_speakers})")
        return self


class SegmentationConfig(Section):
    """Local speakers, and who talks at once (docs/method/turns.md)."""

    backend: str = Field(
        "auto",
        description="auto (what is in the model store, else none), none, a model of the store, a path to an .onnx "
        "file, or module:factory",
    )
    sure: float = Field(
        0.6,
        gt=0,
        lt=1,
        description="probability of speech from which the segmentation advises voice activity detection",
    )
    overlap: float = Field(
        0.6, gt=0, le=1, description="probability of two from which two talk; at 0.5 to 0.8 the sets differ by a point"
    )
    votes: float = Field(
        0.55,
        gt=0,
        description="weight of the windows' clusters beside the local speakers; less trusts local speakers who are two "
        "people, more blurs where they change",
    )
    alone: float = Field(
        0.7, gt=0, description="s that two local speakers of a window each talk alone, to be two people for sure"
    )
    alike: float = Field(
        0.55,
        description="correlation over which two local speakers in one cluster stay there; from 0.6 on single speakers "
        "are cut in two",
    )


class TurnsConfig(Section):
    """Windows to turns (docs/method/turns.md)."""

    gap: float = Field(
        0.2, ge=0, description="s; a silence within one speaker's talk that does not end the turn, as references count"
    )
    min_turn: float = Field(
        0.2, ge=0, description="s; a shorter change of speaker within speech is noise of the labels"
    )


class AsrConfig(Section):
    """Speech recognition (docs/words.md)."""

    backend: str = Field(
        "auto",
        description="auto, whisper:<size, store name or folder>, pocketsphinx, none, or module:factory",
    )
    language: str | None = Field(None, description="ISO 639-1 code; unset: detected, once a recording")
    hotwords: str | None = Field(None, description="words the recognizer should expect (Whisper)")
    initial_prompt: str | None = Field(None, description="text that sets style and vocabulary (Whisper)")
    beam: int = Field(5, ge=1, description="beam size; Whisper's own default")
    batch: int = Field(
        8, ge=1, description="chunks of up to 30 s decoded at once; memory against speed; faster-whisper's default"
    )


class LabelConfig(Section):
    """Words to speakers (docs/method/labels.md)."""

    max_distance: float = Field(
        0.5,
        ge=0,
        description="s; a word in no turn goes to the nearest turn that is no further; less loses words where turns "
        "begin late, more gains nothing",
    )


class IdentifyConfig(Section):
    """Speakers to enrolled people (docs/identification.md)."""

    prior: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="probability, before anything is heard, that a speaker is a given person of the library; lower "
        "names fewer, and fewer wrongly",
    )
    chance: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="probability that the nearest person stands out from a library of 30 and more as far as must be, "
        "by chance; lower names fewer; it makes up for channels, which move the ratios with everybody",
    )
    margin: float = Field(
        1.0,
        ge=0,
        description="log-likelihood ratio by which the best person must be ahead of the next; under that, two of the "
        "library are too alike",
    )
    seconds: float = Field(
        2.0,
        ge=0,
        description="s of speech that a speaker needs to be named; of less, a voice is more noise than person",
    )
    top: int = Field(5, ge=1, description="candidates told for each speaker")
    calibration: str | None = Field(
        None, description="file that diarize calibrate made; unset: the one that is shipped for the embedder"
    )


class OutputConfig(Section):
    """Exports (docs/formats.md)."""

    formats: tuple[str, ...] = Field(
        ("txt", "srt", "vtt", "rttm", "uem", "csv", "ctm", "stm", "seglst", "speakers"),
        description="written beside transcript.json, which is always written: txt, srt, vtt, rttm, uem, csv, ctm, stm, "
        "seglst, speakers",
    )


class RunConfig(Section):
    """How, not what. Of these only a GPU changes a result, in its last digits, and the backends' names then say so."""

    device: Device = Field("auto", description="where models run; auto takes cuda where it works")
    workers: int = Field(1, ge=1, description="recordings at a time, each in a process of its own")
    engine: Literal["local", "ray"] = Field(
        "local", description="local: workers on this machine; ray: on a Ray cluster"
    )
    ray_address: str | None = Field(
        None, description="of the Ray cluster, host:port; unset: one on this machine, for this run alone"
    )
    offline: bool = Field(False, description="never open a network connection")
    cache: str = Field(
        "auto",
        description="folder of the results of stages that later runs need not make again; auto: the user's cache "
        "folder; none: nothing is kept",
    )
    cache_size: float = Field(
        20.0,
        ge=0.1,
        description="GB at most of that folder, some 1500 hours of recordings; what was used longest ago goes first",
    )
    patience: float = Field(
        600.0,
        gt=0,
        description="s without a sign of progress after which a worker is taken for hung: longer than a network disk "
        "takes to come back, short against a batch",
    )


class Config(Section):
    """All sections. `diarizer` replaces the stages up to turns by an end-to-end backend."""

    diarizer: str | None = Field(
        None,
        description="pyannote:<hub id or folder>, or module:factory, in the place of vad, embedder and clustering",
    )
    audio: AudioConfig = AudioConfig()
    vad: VadConfig = VadConfig()
    windows: WindowsConfig = WindowsConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    cluster: ClusterConfig = ClusterConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    turns: TurnsConfig = TurnsConfig()
    asr: AsrConfig = AsrConfig()
    label: LabelConfig = LabelConfig()
    identify: IdentifyConfig = IdentifyConfig()
    output: OutputConfig = OutputConfig()
    run: RunConfig = RunConfig()


def parse(values: Mapping[str, Any], where: str) -> Config:
    """A Config from nested values. Raises ConfigError, which names `where`, the key, the value and what is allowed."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        whole = isinstance(first["input"], Mapping)  # a section, whose rule says what is in it
        got = "" if whole else f" (got {first['input']!r})"
        problem = first["msg"].removeprefix("Value error, ") + got
        raise ConfigError(where, key, problem, "See: diarize config show") from error


def read(path: Path) -> dict[str, Any]:
    """The nested values of a TOML file. Raises ConfigError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(files.read_text(path))
    except FormatError as error:
        raise ConfigError(str(path), "file", error.problem) from error
    except (ValueError, RecursionError) as error:  # no TOML, absurd numbers or depth
        raise ConfigError(str(path), "file", str(error)) from error
