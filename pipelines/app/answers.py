"""What the app does, without its page: every answer is a sentence, also where something goes wrong."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from diarize.config import Config
from diarize.errors import AudioError, DiarizeError, printable
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.speech import preparation
from diarize.text import counted
from pipelines.batch.process import ProcessRequest, process
from pipelines.batch.run import RunObserver
from pipelines.people import wording
from pipelines.people.enroll import EnrolmentRequest, enroll
from pipelines.people.identify import identify
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.people.verify import Verification, load_verifier
from pipelines.results import outputs
from pipelines.review import report

EVEN = 0.5  # prior of one person, for a decision where the model's authors publish no threshold
APP_THRESHOLDS = {"unispeech-sat-base-plus-sv": 0.85}  # of the published app; the model card has 0.89
EXAMPLES = Path(__file__).with_name("examples")
DOCUMENTS = ("txt", "srt", "rttm", "json")

OpenLibrary = Callable[[], AbstractContextManager[Library]]


@dataclass(frozen=True, slots=True)
class Processed:
    """The answer on one recording: the transcript, the files to download, and the review page (HTML); "" without."""

    text: str
    files: tuple[str, ...] = ()
    page: str = ""


@dataclass
class AppAnswers:
    """The actions of the app. They take turns: one request uses the models at a time."""

    config: Config
    store: Store
    read: Callable[[], Library]  # the library of enrolled people, to read
    change: OpenLibrary  # the same, to enrol; it is made where it does not exist
    folder: Path  # for results, until the app ends
    threshold: float | None = None  # of the similarity, instead of the model's
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _embedders: dict[tuple[str, str | None], UtteranceEmbedder] = field(default_factory=dict, repr=False)

    def models(self) -> tuple[str, ...]:
        """Names of the embedders to choose from: the configured one first, then those that are in the model store."""
        present = [each.entry for each in self.store.list() if each.state == "present"]
        names = [entry.name for entry in present if entry.role == "embedder"]
        return tuple(dict.fromkeys([self.config.embedder.backend, *names]))

    def compare(self, a: str | None, b: str | None, model: str, effects: bool) -> str:
        """Are two recordings of one person? `effects`: the input chain of a published app (docs/verification.md)."""
        if not a or not b:
            return "Error: record or choose both recordings, A and B."
        prepare = preparation.SOX_APP if effects else None
        with self._turn() as errors, errors:
            embedder = self._embedder(model, prepare)
            verifier = load_verifier(embedder, Scoring(prior=EVEN, prepare=prepare))
            verification = verifier.verify(embedder.embed_file(Path(a)), embedder.embed_file(Path(b)))
            return self._sentence(verification, model)
        return errors.text

    def enrol(self, name: str | None, recording: str | None, consent: str | None) -> str:
        """Add a person to the library, or more speech of one."""
        if not (name or "").strip() or not recording:
            return "Error: write a name, and record or choose a recording of this person alone."
        if not (consent or "").strip():
            return "Error: write what this person has agreed to. Nobody is enrolled without it."
        with self._turn() as errors, errors:
            request = EnrolmentRequest(str(name).strip(), consent=str(consent).strip())
            with self.change() as library:
                result = enroll(library, request, [Path(recording)], self.config, self.store)
            lines = [f"{row.outcome}: {row.reason}" for row in result.rows if row.reason]
            if result.person is None:
                return "\n".join(["Nobody was enrolled.", *lines])
            state = "enough" if result.complete else f"{result.wanted:.0f} s are wanted: add another recording"
            who = printable(result.person.name)
            return "\n".join([f"{who} is enrolled with {result.seconds:.1f} s of speech ({state}).", *lines])
        return errors.text

    def identify(self, recording: str | None) -> str:
        """Who speaks in a recording, of the people in the library?"""
        if not recording:
            return "Error: record or choose a recording."
        with self._turn() as errors, errors:
            result = identify([Path(recording)], self.read, self.config, self.store, RunObserver())
            (row,) = result.recordings
            if row.problem:
                return f"Error: {row.problem}"
            lines = [counted(len(row.speakers), "speaker") + "."]
            for each in row.speakers:
                lines.append(f"{each.speaker.id}, {each.seconds:.1f} s: {printable(each.speaker.label)}")
                for one in each.speaker.candidates:
                    ratio = "no likelihood ratio" if one.llr is None else wording.ratio(one.llr)
                    lines.append(f"    {printable(one.name)}: {ratio}")
            return "\n".join(lines)
        return errors.text

    def process(self, recording: str | None) -> Processed:
        """Who said what, when, in one recording, with a page to listen and correct."""
        if not recording:
            return Processed("Error: record or choose a recording.")
        with self._turn() as errors, errors:
            out = Path(tempfile.mkdtemp(dir=self.folder))
            wanted = {"output": self.config.output.model_copy(update={"formats": DOCUMENTS})}
            run = process(
                ProcessRequest((Path(recording),), out),
                self.config.model_copy(update=wanted),
                self.store,
                RunObserver(),
            )
            (outcome,) = run.outcomes
            if outcome.status != "done":
                return Processed(f"Error: {outcome.reason or outcome.status}")
            results = out / outcome.id
            written = report.write(results, results / f"{outcome.id}.review.html", "embed", "", (Path(recording),))
            text = (results / "transcript.txt").read_text(encoding="utf-8")
            documents = [path for path in sorted(results.iterdir()) if path.suffix[1:] in DOCUMENTS]
            offered = [written.path, *(path for path in documents if path.name != outputs.PROVENANCE)]
            return Processed(text, tuple(map(str, offered)), frame(written.path.read_text(encoding="utf-8")))
        return Processed(errors.text)

    def _sentence(self, verification: Verification, model: str) -> str:
        """The similarity in per cent and the decision; then the likelihood ratio, and what is to be noted."""
        percent = 100 * max(0.0, verification.cosine)
        limit = self.threshold if self.threshold is not None else APP_THRESHOLDS.get(model)
        if limit is not None:
            same, rule = verification.cosine >= limit, f"threshold {100 * limit:g} %"
        elif verification.score_threshold is not None:
            same, rule = verification.decision == "same", verification.reason
        else:
            same, rule = verification.decision == "same", "likelihood ratio above 1"
        if limit is None and verification.decision == "undecided":
            verdict = f"no decision: {verification.reason}"
        elif same:
            verdict = f"the voices belong to the same person ({rule})"
        else:
            verdict = f"not the same person, authentication failed ({rule})"
        lines = [f"The voices are {percent:.1f} % similar: {verdict}."]
        if verification.llr is not None:
            lines.append(wording.sentence(verification.llr) + ".")
        return "\n".join([*lines, *(f"Note: {note}." for note in verification.notes)])

    def _embedder(self, model: str, prepare: str | None) -> UtteranceEmbedder:
        """The model, which stays loaded. Raises what `load_embedder` raises."""
        key = model, prepare
        if key not in self._embedders:
            chosen = {"embedder": self.config.embedder.model_copy(update={"backend": model})}
            self._embedders[key] = load_embedder(self.config.model_copy(update=chosen), self.store, prepare)
        return self._embedders[key]

    @contextmanager
    def _turn(self) -> Iterator[ErrorSentence]:
        with self._lock:
            yield ErrorSentence()


class ErrorSentence:
    """Turns an error that users can cause into a sentence; any other goes on."""

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, DiarizeError | OSError):
            problem = error.problem if isinstance(error, AudioError) else str(error)
            self.text = f"Error: {printable(problem)}"
            return True
        return False


def frame(page: str) -> str:
    """A page in a frame that may run its own scripts, and reach nothing of the page around it."""
    return (
        f'<iframe sandbox="allow-scripts allow-downloads" srcdoc="{escape(page)}" width="100%" height="800"></iframe>'
    )
