"""Settings and the model store -> which backends run, with which weights, and what that leaves to be desired.

A plan is plain data: it is made once, before any work, and each worker process builds its own stages from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import backends
from diarize.clustering.clusterer import WindowClusterer
from diarize.config import Config, Section, WindowsConfig
from diarize.errors import ConfigError, UnknownBackend
from diarize.models.registry import REGISTRY, ModelEntry, Progress
from diarize.models.store import Store
from diarize.units import RATE
from pipelines.recording import NoSegmentation, Stages
from pipelines.versions import versions

if TYPE_CHECKING:
    from diarize.library.enrolled import EnrolledPeople
    from diarize.library.store import Library

EMBEDDERS = ("community-1-embedding", "wespeaker-resnet34-lm", "eres2netv2", "campplus", "ge2e")  # best first
FAST_EMBEDDER = "ge2e"
SPARSE_WINDOWS = WindowsConfig(length=1.6, hop=0.8)  # of embedders to which each window is work
WHISPERS = (
    "whisper-large-v3-turbo",
    "whisper-large-v3",
    "whisper-medium",
    "whisper-small",
    "whisper-base",
    "whisper-tiny",
)
WHISPER = "whisper-small"  # the one that notes recommend: the best that keeps up with speech on two cores
LANGUAGES = frozenset(  # of Whisper, the recognizer that knows most
    code
    for line in (
        "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy",
        "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru",
        "sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue",
    )
    for code in line.split()
)
MOONSHINE = "moonshine-tiny-en"
VAD_MODEL = "silero-vad-v6"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")  # a model of the Hugging Face hub: owner/name, owner/name@revision
COUNTERMEASURES = ("aasist", "aasist-l")  # best first
SEGMENTERS = ("community-1-segmentation", "pyannote-segmentation-3.0-int8")  # best first


@dataclass(frozen=True)
class Choice:
    """A backend and what it is built with."""

    stage: str
    name: str  # as `backends.load` takes it
    options: dict[str, Any] = field(default_factory=dict)
    threaded: bool = False  # its factory takes the number of threads it may use

    def __post_init__(self) -> None:
        backends.check(self.stage, self.name)

    def examine(self) -> None:
        """Raises what loading it would, as far as that is known without loading a large model (`backends.examine`)."""
        backends.examine(self.stage, self.name, **self.options)

    def with_options(self, **options: Any) -> Choice:
        """The same backend with other options."""
        return replace(self, options={**self.options, **options})

    def load(self, threads: int) -> Any:
        return backends.load(self.stage, self.name, **self.options, **({"threads": threads} if self.threaded else {}))


Loader = Callable[[Choice, int], Any]  # makes a stage of a choice, for so many threads


@dataclass(frozen=True)
class Plan:
    config: Config
    detect: Choice | None
    embed: Choice | None
    recognize: Choice | None
    diarize: Choice | None
    notes: tuple[str, ...]  # what was replaced or left out, and how to get better
    models: dict[str, str]  # name in the store -> sha256, of the models that this plan uses
    segment: Choice | None = None
    spoof: Choice | None = None  # None: no scores of spoofing are wanted
    people: EnrolledPeople | None = None  # whom to look for; None: nobody is named, nobody linked
    versions: dict[str, str] = field(default_factory=dict)  # of what is installed and may change a result
    licences: dict[str, str] = field(default_factory=dict)  # model -> its licence, and whom it demands to be named

    @property
    def choices(self) -> tuple[Choice | None, ...]:
        """Every backend; None where there is none."""
        return self.detect, self.embed, self.recognize, self.diarize, self.segment, self.spoof

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a recording goes through, by the names that an observer gets."""
        runs = {
            "segment": self.segment is not None,
            "detect": self.detect is not None,
            "embed": self.embed is not None,
            "cluster": self.clusters,
            "diarize": self.diarize is not None,
            "identify": self.people is not None,
            "spoof": self.spoof is not None,
            "recognize": self.recognize is not None,
        }
        return tuple(stage for stage, runs_here in runs.items() if runs_here)

    @property
    def clusters(self) -> bool:
        """Whether turns are made of clustered windows: not by an end-to-end diarizer, nor of one channel a speaker, nor
        of words with speakers.
        """
        by_words = self.config.label.speakers_from == "transcript"
        return self.config.diarizer is None and self.config.audio.channel != "per-channel" and not by_words

    def examine(self) -> None:
        """Raises BackendError, ModelError and ConfigError where a backend cannot be used with these settings."""
        for choice in self.choices:
            if choice is not None:
                choice.examine()

    def clusterer(self) -> WindowClusterer:
        return WindowClusterer(self.config.cluster, segmentation=self.config.segmentation)

    def build(self, threads: int = 0, load: Loader = Choice.load) -> Stages:
        """The stages, with their models loaded by `load`. `threads` a model may use; 0 leaves it to the runtime."""
        return Stages(
            segment=load(self.segment, threads) if self.segment is not None else NoSegmentation(),
            detect=load(self.detect, threads) if self.detect is not None else None,
            embed=load(self.embed, threads) if self.embed is not None else None,
            cluster=WindowClusterer(self.config.cluster, segmentation=self.config.segmentation)
            if self.clusters
            else None,
            diarize=load(self.diarize, threads) if self.diarize is not None else None,
            recognize=load(self.recognize, threads) if self.recognize is not None else None,
            spoof=load(self.spoof, threads) if self.spoof is not None else None,
            identify=self.people.load() if self.people is not None else None,
        )


def make(
    config: Config,
    store: Store,
    progress: Progress | None = None,
    recognize: bool = True,
    library: Library | None = None,
    link: bool = False,
    detect_speech: bool = True,
) -> Plan:
    """Choose every backend, and fetch the models that are missing (unless offline).

    `recognize`: whether any recording needs a recognizer; not if the words of all come from files. `library`: whom to
    look for; `link`: call unknown people alike in all recordings, which a library brings with it; `detect_speech`:
    whether any recording needs a detector.
    Raises ConfigError, UnknownBackend, ModelError, LibraryError and CalibrationError, each with its cure.
    """
    notes: list[str] = []
    used: dict[str, str] = {}

    def model(name: str) -> Path:
        path = store.find(name) or store.pull(name, progress)
        used[name] = store.digest(name)
        return path

    by_channel, by_words = config.audio.channel == "per-channel", config.label.speakers_from == "transcript"
    detect_speech = detect_speech and not by_words
    detect = _detector(config, model) if detect_speech and (by_channel or config.diarizer is None) else None
    clusters = not by_channel and not by_words and config.diarizer is None
    embed = _embedder(config, store, model, notes) if clusters else None
    segment = _segmenter(config, store, model, notes) if embed is not None else None
    if by_channel and detect is not None:  # only advice on where speech is: without a model nothing is missing
        segment = _segmenter(config, store, model, [])
    recognizer = _recognizer(config, store, model, notes) if recognize else None
    notes += _unused_hints(config, recognizer) + _unused_count(config)
    spoof = _countermeasure(config, store, model) if config.spoof.is_used else None
    diarize = None
    if config.diarizer is not None and by_channel:
        notes.append(f"diarizer: {config.diarizer} is not used: with --channel per-channel each channel is one speaker")
    elif config.diarizer is not None:
        name, _, argument = config.diarizer.partition(":")
        if name == "pyannote" and not argument:
            raise ConfigError("settings", "diarizer", "pyannote needs a model", "Write pyannote:<hub id or folder>.")
        if name == "pyannote":
            place = {"model": argument, "device": config.run.device, "offline": store.offline}
            diarize = Choice("diarizer", name, place | {"cluster": config.cluster})
        else:
            diarize = _own("diarizer", config.diarizer, config.cluster, config)
    people = None
    if library is not None or link:
        from diarize.library.enrolled import enrolled_people

        embed = embed or _embedder(config, store, model, notes)
        if library is not None:
            check_rate(store, used, "a library of enrolled people")
        people = enrolled_people(library, str(embed.load(1).name), config)
        notes += people.notes
    if embed is not None and embed.name != "community-1":
        config = config.model_copy(update={"windows": _sparse(config.windows)})
    licences = {name: store.registry[name].terms for name in used}
    return Plan(
        config, detect, embed, recognizer, diarize, tuple(notes), used, segment, spoof, people, versions(), licences
    )


def check_rate(store: Store, names: Iterable[str], what: str) -> None:
    """Raises ConfigError where one of these models embeds recordings at another rate than 16 kHz, so that `what` would
    hold other voices than its authors compare."""
    entries = (store.registry[name] for name in names)
    entry = next((e for e in entries if e.role == "embedder" and e.format.get("rate", RATE) != RATE), None)
    if entry is not None:
        problem = (
            f"{entry.name} compares whole recordings of {entry.format['rate']} Hz by their {entry.scoring.metric} "
        )
        problem += f"distance, and {what} compares speech at {RATE} Hz"
        cure = f"Use it with verify, compare and score-trials; here use another, as {EMBEDDERS[0]}."
        raise ConfigError("settings", "embedder.backend", problem, cure)


def _sparse(config: WindowsConfig) -> WindowsConfig:
    """`config` with SPARSE_WINDOWS where nothing is set."""
    unset = {"length", "hop"} - config.model_fields_set
    length = SPARSE_WINDOWS.length if "length" in unset else config.length
    hop = min(SPARSE_WINDOWS.hop, length) if "hop" in unset else config.hop
    return config.model_copy(update={"length": length, "hop": hop})


def _detector(config: Config, model: Callable[[str], Path]) -> Choice:
    if config.vad.backend == "silero":
        options = {"model": model(VAD_MODEL), "config": config.vad, "device": config.run.device}
        return Choice("vad", "silero", options, threaded=True)
    if config.vad.backend == "energy":
        return Choice("vad", "energy", {"config": config.vad})
    return _own("vad", config.vad.backend, config.vad, config)


def _segmenter(config: Config, store: Store, model: Callable[[str], Path], notes: list[str]) -> Choice | None:
    wanted = config.segmentation.backend
    if wanted == "auto":
        wanted = next((name for name in SEGMENTERS if store.find(name) is not None), "")
        if not wanted:
            notes.append(
                "overlap is not detected, because no segmentation model is in the model store; "
                f"to get one: diarize models pull {SEGMENTERS[0]}"
            )
            return None
    known = [name for name, entry in REGISTRY.items() if entry.role == "segmentation"]
    if wanted == "none":
        return None
    if wanted in known or wanted.endswith((".onnx", ".ort")):
        path = model(wanted) if wanted in known else Path(wanted)
        if wanted not in known and not path.is_file():
            raise ConfigError("settings", "segmentation.backend", f"{wanted} is not a file")
        return Choice("segmentation", "onnx", {"model": path, "device": config.run.device}, threaded=True)
    if ":" in wanted:
        return _own("segmentation", wanted, config.segmentation, config)
    raise UnknownBackend("segmentation", wanted, ("auto", "none", *known, "FILE.onnx", "FILE.ort", "module:factory"))


def _embedder(config: Config, store: Store, model: Callable[[str], Path], notes: list[str]) -> Choice:
    wanted = config.embedder.backend
    options: dict[str, Any] = {"batch": config.embedder.batch, "device": config.run.device}
    if wanted == "auto" and config.profile == "fast":
        wanted = FAST_EMBEDDER
        notes.append(f"profile: fast, embedder: {wanted}; --profile accurate is slower and makes fewer errors")
    elif wanted == "auto":
        wanted = next((name for name in EMBEDDERS if store.find(name) is not None), EMBEDDERS[0])
        if wanted != EMBEDDERS[0]:
            notes.append(
                f"embedder: {wanted}, the best in the model store; a better one: diarize models pull {EMBEDDERS[0]}"
            )
    if wanted == "community-1-embedding":
        precision = {"precision": config.embedder.precision}
        return Choice("embedder", "community-1", {"model": model(wanted), **precision, **options}, threaded=True)
    if wanted == "ge2e":
        return Choice("embedder", "ge2e", {"model": model("ge2e"), **options}, threaded=True)
    known = [name for name, entry in store.registry.items() if entry.role == "embedder"]
    names = ("auto", *known, "FILE.onnx", "FOLDER or OWNER/NAME (*ForXVector)", "module:factory")
    if wanted not in known and not Path(wanted).exists():  # a model of the hub that the model store knows
        wanted = next((name for name in known if _is_on_hub(store.registry[name], wanted)), wanted)
    if wanted in known:
        format = store.registry[wanted].format
        path, backend = model(wanted), format.get("backend", "onnx")
        own: dict[str, dict[str, Any]] = {
            "onnx": {"format": format},
            "campplus": {"format": format},
            "transformers": {"digest": store.digest(wanted)},
        }
        return Choice("embedder", backend, {"model": path, **own.get(backend, {}), **options}, threaded=True)
    if wanted.endswith(".onnx"):
        if not Path(wanted).is_file():
            there = ", ".join(sorted(path.name for path in Path(wanted).absolute().parent.glob("*.onnx"))[:5])
            cure = f"There: {there}." if there else f"Known names: {', '.join(names)}."
            raise ConfigError("settings", "embedder.backend", f"{wanted} is not a file", cure)
        return Choice("embedder", "onnx", {"model": Path(wanted), "format": {}, **options}, threaded=True)
    if Path(wanted).is_dir() or _HUB_ID.fullmatch(wanted):
        place = {"model": Path(wanted) if Path(wanted).is_dir() else wanted, "offline": store.offline}
        return Choice("embedder", "transformers", {**place, **options}, threaded=True)
    if ":" in wanted:
        return _own("embedder", wanted, config.embedder, config)
    raise UnknownBackend("embedder", wanted, names)


def _countermeasure(config: Config, store: Store, model: Callable[[str], Path]) -> Choice:
    wanted = config.spoof.model
    if wanted == "auto":
        wanted = next((name for name in COUNTERMEASURES if store.find(name) is not None), COUNTERMEASURES[0])
    known = [name for name, entry in store.registry.items() if entry.role == "countermeasure"]
    device = {"device": config.run.device}
    if wanted in known:
        format = store.registry[wanted].format
        options = {"model": model(wanted), "format": format, "called": wanted, "error": format["error"], **device}
        return Choice("countermeasure", "onnx", options, threaded=True)
    if wanted.endswith(".onnx"):
        if not Path(wanted).is_file():
            raise ConfigError("settings", "spoof.model", f"{wanted} is not a file")
        options = {"model": Path(wanted), "format": {}, "called": Path(wanted).stem, **device}
        return Choice("countermeasure", "onnx", options, threaded=True)
    if ":" in wanted:
        return _own("countermeasure", wanted, config.spoof, config)
    raise UnknownBackend("countermeasure", wanted, ("auto", *known, "FILE.onnx", "module:factory"))


def _is_on_hub(entry: ModelEntry, id: str) -> bool:
    """Whether a model is the one with this id on the hub."""
    return any(source.startswith(f"hf:{id}@") for source in entry.sources)


def _recognizer(config: Config, store: Store, model: Callable[[str], Path], notes: list[str]) -> Choice | None:
    wanted = config.asr.backend
    if wanted == "none":
        return None
    if wanted == "auto":
        return _best_recognizer(config, store, model, notes)
    if wanted == "moonshine":
        return _moonshine(config, model(MOONSHINE), store.digest(MOONSHINE))
    if wanted == "pocketsphinx":
        return Choice("asr", "pocketsphinx", {"config": config.asr})
    name, _, size = wanted.partition(":")
    if name == "whisper":
        folder = Path(size)
        if size and folder.is_dir():
            return _whisper(config, folder, "")
        if folder.name != size:
            raise ConfigError("settings", "asr.backend", f"{size} is not a folder")
        entry = size if size in REGISTRY else f"whisper-{size or 'small'}"
        if entry not in REGISTRY:
            known = [f"whisper:{e.removeprefix('whisper-')}" for e in REGISTRY if e.startswith("whisper-")]
            raise UnknownBackend("asr", wanted, ("auto", "none", "moonshine", "pocketsphinx", *known, "whisper:FOLDER"))
        return _whisper(config, model(entry), store.digest(entry))
    if ":" in wanted:
        return _own("asr", wanted, config.asr, config)
    known = ["auto", "none", "moonshine", "pocketsphinx", "whisper", "whisper:<size or folder>", "module:factory"]
    raise UnknownBackend("asr", wanted, tuple(known))


def _own(stage: str, factory: str, section: Section, config: Config) -> Choice:
    """A user's own backend, "module:factory": the factory takes the section of the settings and the device."""
    return Choice(stage, factory, {"config": section, "device": config.run.device})


def _best_recognizer(config: Config, store: Store, model: Callable[[str], Path], notes: list[str]) -> Choice | None:
    """The best Whisper in the store, else Moonshine if it is there, else none; nothing is downloaded. Adds `notes`."""
    get_whisper = f"diarize models pull {WHISPER}"
    if find_spec("faster_whisper") is None:
        get_whisper = f"pip install 'diarize-pipeline[whisper]', then {get_whisper}"
    elif (whisper := next((name for name in WHISPERS if store.find(name) is not None), None)) is not None:
        return _whisper(config, model(whisper), store.digest(whisper))
    language = config.asr.language
    if language is not None and language not in LANGUAGES:
        problem = f"no recognizer supports the language {language!r}"
        raise ConfigError("settings", "asr.language", problem, "Use a code of ISO 639-1, as en or de.")
    if language not in (None, "en"):
        notes.append(
            f"recognizer: none, the transcript has no words: Whisper is needed for the language {language!r}; "
            f"to get it: {get_whisper}"
        )
        return None
    if store.find(MOONSHINE) is not None:
        return _moonshine(config, model(MOONSHINE), store.digest(MOONSHINE))
    notes.append(
        "recognizer: none, the transcript has no words, because no model for it is in the model store; "
        f"to get one for English: diarize models pull {MOONSHINE}; for other languages: {get_whisper}"
    )
    return None


def _unused_hints(config: Config, recognizer: Choice | None) -> list[str]:
    """A note where hot words or a prompt are set, and the recognizer cannot use them."""
    options = {"hotwords": config.asr.hotwords, "initial_prompt": config.asr.initial_prompt}
    hints = [name for name, text in options.items() if (text or "").strip()]
    if not hints or (recognizer is not None and (recognizer.name == "whisper" or ":" in recognizer.name)):
        return []
    why = "no words are recognized" if recognizer is None else f"{recognizer.name} cannot use them; Whisper can"
    return [f"{' and '.join(hints)}: not used, because {why}"]


def _unused_count(config: Config) -> list[str]:
    """A note where the number of speakers is set, and something else decides it."""
    if config.cluster.num_speakers is None:
        return []
    if config.label.speakers_from == "transcript":
        return ["--num-speakers: not used, because with --speakers-from transcript the speakers are those of the file"]
    if config.audio.channel == "per-channel":
        return ["--num-speakers: not used, because with --channel per-channel each channel is one speaker"]
    return []


def _moonshine(config: Config, folder: Path, digest: str) -> Choice:
    return Choice("asr", "moonshine", {"model": folder, "digest": digest, "config": config.asr}, threaded=True)


def _whisper(config: Config, folder: Path, digest: str) -> Choice:
    options = {"model": folder, "digest": digest, "config": config.asr, "device": config.run.device}
    return Choice("asr", "whisper", options, threaded=True)
