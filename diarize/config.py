"""All settings: one frozen model for each stage, each setting with its default, unit and the reason for the default.

Files are TOML, one table per section; unknown keys are refused. Times are seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from diarize import files, validation
from diarize.errors import ConfigError, FormatError

Device = Literal["auto", "cpu", "cuda"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation in (int, float, int | None, float | None):
            raise PydanticCustomError("int_type" if field.annotation in (int, int | None) else "float_type", "a number")
        return value


class AudioConfig(Section):
    """Decoding (docs/method/decoding.md)."""

    channel: str = Field(
        "auto",
        pattern=r"^(auto|mix|per-channel|[0-9]+)$",
        description="channels to use. auto: selected by their level and correlation; mix: the mean of all; N: channel "
        "N, counted from 0; per-channel: each channel is one speaker",
    )
    track: int | None = Field(
        None,
        ge=0,
        description="audio track of files that have several, counted from 0. Not set: the track marked as default, "
        "else the one with most channels, else the first",
    )

    @field_validator("channel", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class VadConfig(Section):
    """Voice activity detection (docs/method/speech.md)."""

    backend: str = Field("silero", description="voice activity detector: silero, energy, or module:factory")
    threshold: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="speech begins at this probability. At 0.5, the default of silero, a quarter of the speech in "
        "quiet meetings is missed",
    )
    off_threshold: float = Field(
        0.14,
        gt=0,
        lt=1,
        description="speech ends below this probability. Lower than threshold, so that speech is not cut into pieces",
    )
    min_speech: float = Field(
        0.1, ge=0, description="s; shorter speech segments are dropped: they are clicks or breaths"
    )
    min_silence: float = Field(
        0.2, ge=0, description="s; shorter pauses count as speech, as in the usual reference annotations"
    )
    pad: float = Field(
        0.0, ge=0, description="s added at both ends of a speech segment; adds more false alarm than it avoids misses"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.off_threshold > self.threshold:
            raise ValueError(f"off_threshold ({self.off_threshold}) may not exceed threshold ({self.threshold})")
        return self


class WindowsConfig(Section):
    """Windows over speech, one embedding each (docs/method/windows.md)."""

    length: float = Field(
        1.2,
        gt=0,
        description="s; with a longer window, short turns get no window of their own. Embedders other than community-1 "
        "use 1.6 s unless this is set: GE2E was trained on windows of that length",
    )
    hop: float = Field(
        0.4,
        ge=0.01,
        description="s between the starts of two windows. Embedders other than community-1 use 0.8 s unless this is "
        "set: each of their windows takes time",
    )

    @model_validator(mode="after")
    def _gapless(self) -> Self:
        if self.hop > self.length:
            raise ValueError(
                f"hop ({self.hop}) may not exceed length ({self.length}): speech between windows would be lost"
            )
        return self


class EmbedderConfig(Section):
    """Speaker embeddings (docs/method/embeddings.md)."""

    backend: str = Field(
        "auto",
        description="model for speaker embeddings: auto, ge2e, a name in the model store, a path to an .onnx file, or "
        "module:factory",
    )
    precision: Literal["int8", "float"] = Field(
        "int8",
        description="numbers that the network of community-1 is computed with: int8 takes half the time of float "
        "and gives nearly the same vectors",
    )
    batch: int = Field(
        16,
        ge=1,
        description="windows that each thread computes at once; a larger value takes more memory and is not faster",
    )


class ClusterConfig(Section):
    """Spectral clustering (docs/method/clustering.md)."""

    num_speakers: int | None = Field(
        None, ge=1, description="number of speakers, if known; min_speakers and max_speakers are then ignored"
    )
    min_speakers: int = Field(1, ge=1, description="lowest possible number of speakers")
    max_speakers: int = Field(20, ge=1, description="highest possible number of speakers")
    neighbours: int = Field(
        10,
        ge=2,
        description="each window is connected to at least this many of the most similar windows; with fewer, the "
        "windows of a short recording form too many groups",
    )
    split: float = Field(
        0.72, description="a part of a cluster whose similarity to the rest is below this becomes a speaker of its own"
    )
    merge: float = Field(0.8, description="two clusters whose similarity is above this become one speaker")
    single: float = Field(
        0.88,
        description="as merge, for the last two clusters. Higher, because recordings of one single speaker are rare",
    )
    separation: float = Field(
        5.0,
        ge=0,
        description="two clusters become one speaker if their distance is below this, in standard deviations",
    )
    min_windows: int = Field(4, ge=1, description="fewest windows of a new speaker that is split from a cluster")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_speakers > self.max_speakers:
            raise ValueError(f"min_speakers ({self.min_speakers}) may not exceed max_speakers ({self.max_speakers})")
        return self


class SegmentationConfig(Section):
    """Local speakers, and who talks at once (docs/method/turns.md)."""

    backend: str = Field(
        "auto",
        description="model that finds who speaks at the same time: auto (one from the model store, else none), none, "
        "a name in the model store, a path to an .onnx file, or module:factory",
    )
    overlap: float = Field(
        0.6,
        gt=0,
        le=1,
        description="two speakers talk at once where this probability is reached; between 0.5 and 0.8, error rates "
        "differ by one point",
    )
    votes: float = Field(
        0.55,
        gt=0,
        description="weight of the windows' clusters against the local speakers of the segmentation. A lower value "
        "keeps wrong local speakers (two people as one), a higher value moves the times of speaker changes",
    )
    alone: float = Field(
        0.7,
        gt=0,
        description="s; two local speakers of a window count as two people if each of them talks alone this long",
    )
    alike: float | None = Field(
        None,
        description="two local speakers stay in one cluster if their correlation is above this. Unset: by the "
        "embedder, 0.2 for community-1, 0.55 for others; with GE2E, single speakers are cut in two from 0.6 on",
    )


class TurnsConfig(Section):
    """Windows to turns (docs/method/turns.md)."""

    gap: float = Field(
        0.2, ge=0, description="s; shorter silence does not end a turn, as in the usual reference annotations"
    )
    min_turn: float = Field(
        0.2, ge=0, description="s; shorter changes of speaker within speech are removed as errors of clustering"
    )


class AsrConfig(Section):
    """Speech recognition (docs/words.md)."""

    backend: str = Field(
        "auto",
        description="speech recognizer: auto (the best in the model store, else none), whisper:<size, name in the "
        "model store, or folder>, moonshine, pocketsphinx, none, or module:factory",
    )
    language: str | None = Field(
        None, pattern=r"^[a-z]{2,3}$", description="ISO 639-1 code, as en; unset: detected for each recording"
    )
    hotwords: str | None = Field(None, description="words to expect, as names (Whisper only)")
    initial_prompt: str | None = Field(None, description="text that sets style and vocabulary (Whisper only)")
    beam: int = Field(5, ge=1, description="beam size; the default of Whisper")
    batch: int = Field(
        8,
        ge=1,
        description="chunks of up to 30 s decoded at once; more is faster and takes more memory; the default of "
        "faster-whisper",
    )

    @field_validator("language", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value


class LabelConfig(Section):
    """Words to speakers (docs/method/labels.md)."""

    max_distance: float = Field(
        0.5,
        ge=0,
        description="s; a word outside all turns gets the speaker of the nearest turn up to this distance. With a "
        "lower value words are lost where turns begin late; a higher value does not help",
    )
    speakers_from: Literal["recording", "compare", "transcript"] = Field(
        "recording",
        description="whose speakers words of --transcript get. recording: those found in the recording; transcript: "
        "those in the file, of whose words the turns are made; compare: recording, and a note on how far both agree",
    )
    names_in_text: bool = Field(
        True,
        description="on: names before a colon in subtitles of --transcript (Anna: text) are speakers; off: text",
    )


class IdentifyConfig(Section):
    """Speakers to enrolled people (docs/identification.md)."""

    prior: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="probability, before comparing voices, that a speaker is a given person of the library. A lower "
        "value names fewer speakers, and fewer of them wrongly",
    )
    chance: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="accepted probability that the best person of a library of 30 or more stands out only by chance. "
        "A lower value names fewer speakers. Corrects for recording channels, which change all scores alike",
    )
    margin: float = Field(
        1.0,
        ge=0,
        description="the log-likelihood ratio of the best person must exceed that of the second by this; otherwise "
        "the two voices are too similar to decide",
    )
    seconds: float = Field(
        2.0,
        ge=0,
        description="s of speech that a speaker needs to be named; less speech does not describe a voice",
    )
    top: int = Field(5, ge=1, description="number of candidates listed for each speaker")
    exact: bool = Field(
        False,
        description="compare with every voice of the library, also where an index proposes the nearest of very many",
    )
    calibration: str | None = Field(
        None, description="file written by diarize calibrate; unset: the one included for the embedder"
    )


class SpoofConfig(Section):
    """Spoofing countermeasure (docs/guard.md)."""

    enabled: bool = Field(
        False, description="score how much each speaker sounds like a live voice: an advisory, often wrong"
    )
    model: str = Field(
        "auto",
        description="countermeasure: auto (aasist, else aasist-l), a name in the model store, a path to an .onnx file, "
        "or module:factory",
    )
    threshold: float | None = Field(
        None,
        description="speech whose score is below this is suspected, and its speaker is not named. Unset: nothing is "
        "decided. Measure it on recordings of your own",
    )

    @property
    def is_used(self) -> bool:
        """A threshold asks for the scores, too."""
        return self.enabled or self.threshold is not None


class OutputConfig(Section):
    """Exports (docs/formats.md)."""

    formats: tuple[str, ...] = Field(
        ("txt", "srt", "vtt", "rttm", "uem", "csv", "ctm", "stm", "seglst", "speakers"),
        description="formats written beside transcript.json: txt, srt, vtt, rttm, uem, csv, wordcsv, ctm, rtctm, stm, "
        "seglst, speakers, textgrid, eaf, audacity, labelstudio, docx, md, html, otr",
    )


class RunConfig(Section):
    """How work is done. Only a GPU changes results, in their last digits; the names of the backends then include it."""

    device: Device = Field("auto", description="where models run: auto (cuda if it works, else cpu), cpu, or cuda")
    workers: int = Field(1, ge=1, description="recordings processed at the same time, each in a process of its own")
    engine: Literal["local", "ray"] = Field(
        "local", description="local: workers on this machine; ray: on a Ray cluster"
    )
    ray_address: str | None = Field(
        None, description="address of a Ray cluster, host:port; unset: a cluster on this machine, for this run only"
    )
    offline: bool = Field(False, description="never open a network connection")
    cache: str = Field(
        "auto",
        description="folder for results of stages, which later runs read instead of computing them again. auto: in "
        "the user's cache folder; none: no cache",
    )
    cache_size: float = Field(
        20.0,
        ge=0.1,
        description="largest size of the cache in GB (20 GB: about 1500 hours of recordings); results not used for "
        "the longest time are deleted first",
    )
    patience: float = Field(
        600.0,
        gt=0,
        description="s without progress after which a worker is stopped; longer than a network disk needs to recover",
    )


class Config(Section):
    """All sections. `diarizer` replaces the stages up to turns by an end-to-end backend."""

    diarizer: str | None = Field(
        None,
        description="end-to-end diarizer that replaces vad, embedder and clustering: pyannote:<hub id or folder>, or "
        "module:factory",
    )
    profile: Literal["accurate", "fast"] = Field(
        "accurate",
        description="accurate: the best speaker embeddings in the model store; fast: GE2E, in about a third of "
        "the time. A library holds voices of one embedder, so it belongs to one profile",
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
    spoof: SpoofConfig = SpoofConfig()
    output: OutputConfig = OutputConfig()
    run: RunConfig = RunConfig()


def parse(values: Mapping[str, Any], where: str) -> Config:
    """A Config from nested values. Raises ConfigError with `where`, the key, the value, and the allowed values."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(where, *validation.explain(error, Config)) from error


def read(path: Path) -> dict[str, Any]:
    """The nested values of a TOML file. Raises ConfigError if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(files.read_text(path))
    except FormatError as error:
        raise ConfigError(str(path), "", error.problem) from error
    except (ValueError, RecursionError) as error:  # no TOML, absurd numbers or depth
        raise ConfigError(str(path), "", f"is not valid TOML: {error}") from error
