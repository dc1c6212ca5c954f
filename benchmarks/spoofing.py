"""Spoofing and liveness: how often is the countermeasure wrong about people, and about machines and loudspeakers?

    python benchmarks/spoofing.py --shared ../shared --out OUT [--models aasist,aasist-l] [--count 60]

Speech of people: readers (LibriSpeech), callers (CMU AN4), people who read in a second language (speechocean762),
simulated meetings on the telephone and in a room, excerpts of real meetings (AMI). Spoofed speech: sentences of those
readers by espeak-ng and flite (Debian's packages of that name, which must be installed), clean, over a telephone and in
a room; and replays of the readers: a loudspeaker's band, a room, a microphone's noise. Each clip is the first 4.04 s.

Writes `spoofing.json`, a DET plot a model, and prints a table: the share of people that a threshold of 0 suspects, the
EER against the readers, and against people on such a line, and the normalised minimum of the t-DCF with the verifier of
`diarize verify` at LLR 0: its errors on the readers, and the share of each attack that it rejects itself. Its side that
is known is the rest of a reader's recording: of a replay that of the reader who is replayed, of a machine's sentence
that of every reader. Then the share of honest speakers whose phrase a recognizer does not understand. Takes about 20
minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from diarize.config import Config
from diarize.errors import AudioError
from diarize.guard import challenge, fingerprints
from diarize.metrics import tandem, verification
from diarize.models.store import Store
from diarize.types import Audio, Segment
from pipelines import plan
from pipelines.people import plots
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedding, load_embedder
from pipelines.processes import decoding

RATE = 16_000
SECONDS = 64_600 / RATE
Sounds = list[NDArray[np.float32]]
VOICES = ("espeak-ng:en-us", "espeak-ng:en-gb+f3", "espeak-ng:en-us+m4", "flite:slt", "flite:rms", "flite:awb")
SAME_LINE = {", telephone": "telephone (simulated)", "room": "room (simulated)", "replay": "room (simulated)"}
PHRASE = 6  # words
BOUNDS = (0.0, 0.17, 0.34, 0.5)
REST = 4.0  # s, at least, of a reader's recording after the clip


def read(path: Path) -> NDArray[np.float32]:
    return decoding.read(path, id=path.name, channel="auto", track=None).audios[0].samples


def spread(paths: list[Path], count: int) -> list[Path]:
    """`count` of the files, evenly over their sorted names."""
    ordered = sorted(paths)
    return [ordered[i * len(ordered) // count] for i in range(min(count, len(ordered)))]


def turns(audio: Path, rttm: Path, count: int) -> Sounds:
    """The longest turns of a recording, of at least 2 s."""
    rows = [line.split() for line in rttm.read_text().splitlines() if line.startswith("SPEAKER")]
    spans = sorted(((float(row[4]), float(row[3])) for row in rows), reverse=True)[:count]
    samples = read(audio)
    return [samples[round(start * RATE) : round((start + length) * RATE)] for length, start in spans if length >= 2]


def people(data: Path, count: int) -> dict[str, Sounds]:
    libri = [*(data / "libri-dev").glob("*.flac"), *(data / "libri-cohort").glob("*.flac")]
    listing = json.loads((data / "an4-dev" / "utterances.json").read_text())
    an4 = [data / "an4-dev" / f"{name}.flac" for name, facts in listing.items() if facts["seconds"] >= 2.5]
    ami = sorted((data / "ami-excerpts").glob("*.flac"))
    return {
        "readers": [read(path) for path in spread(libri, 2 * count)],
        "callers (AN4)": [read(path) for path in spread(an4, count)],
        "second language": [read(path) for path in spread(list((data / "speechocean-dev").glob("*.flac")), count)],
        "telephone (simulated)": turns(
            data / "sim-dev" / "dev2-phone.flac", data / "sim-dev" / "dev2-phone.rttm", count
        ),
        "room (simulated)": turns(data / "sim-dev" / "dev4-room.flac", data / "sim-dev" / "dev4-room.rttm", count),
        "real meetings (AMI)": [clip for path in ami for clip in turns(path, path.with_suffix(".rttm"), count // 12)],
    }


def telephone(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """300 to 3,400 Hz, 8 kHz, 8-bit mu-law (ITU-T G.711)."""
    narrow = sosfilt(butter(4, (300, 3400), "bandpass", fs=8000, output="sos"), resample_poly(samples, 1, 2))
    level = np.sign(narrow) * np.log1p(255 * np.abs(np.clip(narrow, -1, 1))) / np.log(256)
    coded = np.round(level * 127) / 127
    wide = np.sign(coded) * (256 ** np.abs(coded) - 1) / 255
    return np.asarray(resample_poly(wide, 2, 1), np.float32)


def room(samples: NDArray[np.float32], rng: np.random.Generator, seconds: float = 0.4) -> NDArray[np.float32]:
    """A made impulse response: a direct sound, and noise that decays by 60 dB in `seconds`; and noise at 25 dB."""
    t = np.arange(round(seconds * RATE)) / RATE
    response = 0.3 * rng.standard_normal(len(t)) * 10 ** (-3 * t / seconds)
    response[0] = 3.0
    wet = fftconvolve(samples, response / np.linalg.norm(response))[: len(samples)]
    return np.asarray(wet + rng.standard_normal(len(wet)) * wet.std() * 10 ** (-25 / 20), np.float32)


def replayed(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """From a small loudspeaker (200 Hz to 6 kHz, some distortion) through a room."""
    band = sosfilt(butter(2, (200, 6000), "bandpass", fs=RATE, output="sos"), samples)
    return room(np.tanh(3 * band / max(1e-6, np.abs(band).max())).astype(np.float32) * 0.3, rng)


def synthetic(data: Path, count: int, folder: Path) -> dict[str, Sounds]:
    """Sentences of the readers by each machine."""
    texts = [facts["text"] for facts in json.loads((data / "libri-dev" / "transcripts.json").read_text()).values()]
    made: dict[str, Sounds] = {}
    for voice in VOICES:
        program, _, name = voice.partition(":")
        for i in range(count // 3):
            path = folder / f"{voice}-{i}.wav"
            text = texts[(7 * i) % len(texts)]
            command = (
                ["-v", name, "-w", path, text] if program == "espeak-ng" else ["-voice", name, "-t", text, "-o", path]
            )
            subprocess.run([program, *map(str, command)], check=True, capture_output=True)
            made.setdefault(program, []).append(read(path))
    return made


def clips(sounds: Sounds) -> Iterator[Audio]:
    for sound in sounds:
        yield Audio("clip", np.ascontiguousarray(sound[: round(SECONDS * RATE)], np.float32))


def score(countermeasure: object, sounds: Sounds) -> list[float]:
    return [float(countermeasure(clip, [Segment(0.0, clip.duration)])[0]) for clip in clips(sounds)]  # type: ignore[operator]


class Verifier:
    """The default embedder and calibration: error rates at LLR 0 on clips and the rest of the readers' recordings."""

    def __init__(self, store: Store, readers: Sounds) -> None:
        self.embedder = load_embedder(Config(), store)
        scorer, calibration = Scoring().load(self.embedder)
        assert calibration is not None
        self.scorer, self.calibration = scorer, calibration
        first = round(SECONDS * RATE)
        self.references = {
            i: self.embed(sound[first:]) for i, sound in enumerate(readers) if len(sound) >= first + REST * RATE
        }
        known = list(self.references)
        own = [self.ratios(readers[i], [i]) for i in known]
        others = [self.ratios(readers[i], [j for j in known if j != i]) for i in known]
        self.miss = float(np.mean(np.concatenate(own) < 0))
        self.false_alarm = float(np.mean(np.concatenate(others) >= 0))

    def embed(self, sound: NDArray[np.float32]) -> UtteranceEmbedding:
        return self.embedder.embed_audio(Audio("clip", np.ascontiguousarray(sound, np.float32)))

    def ratios(self, sound: NDArray[np.float32], readers: list[int]) -> NDArray[np.float64]:
        """Log-likelihood ratios of a clip and the rests of some readers' recordings; -inf where it is refused."""
        try:
            clip = self.embed(sound[: round(SECONDS * RATE)])
        except AudioError:  # no speech: nobody is accepted
            return np.full(len(readers), -np.inf)
        references = [self.references[reader] for reader in readers]
        rows = np.stack([reference.vector for reference in references])
        scores = self.scorer(np.repeat(clip.vector[None], len(rows), axis=0), rows)
        ratios, _ = self.calibration.ratios(
            scores, [clip.side] * len(rows), [reference.side for reference in references]
        )
        return np.where(np.isnan(ratios), -np.inf, ratios)

    def errors(self, name: str, sounds: Sounds) -> tandem.TandemErrors:
        """With the share of an attack's trials that the verifier rejects; replays are of every second reader."""
        trials = []
        for i, sound in enumerate(sounds):
            claims = [reader for reader in self.references if reader == 2 * i or not name.startswith("replay")]
            if claims:
                trials.append(self.ratios(sound, claims))
        return tandem.TandemErrors(self.miss, self.false_alarm, float(np.mean(np.concatenate(trials) < 0)))


def measure(
    scores: dict[str, list[float]], honest: list[str], errors: dict[str, tandem.TandemErrors]
) -> list[dict[str, object]]:
    readers = np.array(scores["readers"])
    rows: list[dict[str, object]] = []
    for name, values in scores.items():
        row: dict[str, object] = {"condition": name, "clips": len(values), "median": round(float(np.median(values)), 2)}
        row["suspected at 0"] = round(float(np.mean(np.array(values) < 0)), 3)
        if name not in honest:
            eer, threshold = verification.equal_error(readers, values)
            row |= {"eer": round(eer, 3), "threshold": round(threshold, 2)}
            row["rejected by the verifier"] = round(errors[name].spoof_miss, 3)
            if errors[name].spoof_miss < 1:  # else nothing is left for the countermeasure
                row["min t-DCF"] = round(tandem.min_tandem_cost(readers, values, errors[name]), 3)
            line = next((each for end, each in SAME_LINE.items() if name.endswith(end)), None)
            if line is not None:
                row["eer, people on that line"] = round(verification.equal_error(scores[line], values)[0], 3)
        rows.append(row)
    return rows


def replay_found(originals: Sounds, copies: Sounds) -> float:
    """Share of replays whose fingerprint is that of the original."""
    pairs = zip(clips(originals), clips(copies), strict=True)
    matches = [fingerprints.compare(fingerprints.fingerprint(b), fingerprints.fingerprint(a)) for a, b in pairs]
    return float(np.mean([match is not None and match.is_same for match in matches]))


def pieces(data: Path) -> Iterator[tuple[NDArray[np.float32], str]]:
    """Six words of a reader at a time, cut at the times of the words."""
    for name, facts in json.loads((data / "libri-dev" / "transcripts.json").read_text()).items():
        words, samples = facts["words"] or [], None
        for first in range(0, len(words) - PHRASE + 1, PHRASE):
            part = words[first : first + PHRASE]
            samples = read(data / "libri-dev" / f"{name}.flac") if samples is None else samples
            start, end = max(0.0, part[0][1] - 0.15), part[-1][2] + 0.15
            yield samples[round(start * RATE) : round(end * RATE)], " ".join(word[0] for word in part)


def spelled(data: Path) -> Iterator[tuple[NDArray[np.float32], str]]:
    """Whole utterances of AN4 of at least four words: numbers, letters, names."""
    listing = json.loads((data / "an4-dev" / "utterances.json").read_text())
    for name, facts in sorted(listing.items()):
        if len(facts["text"].split()) >= 4:
            yield read(data / "an4-dev" / f"{name}.flac"), facts["text"]


def liveness(data: Path, store: Store, recognizer: str, count: int) -> list[dict[str, object]]:
    config = Config.model_validate({"asr": {"backend": recognizer}, "embedder": {"backend": "ge2e"}})
    choice = plan.make(config, store).recognize
    assert choice is not None
    recognize = choice.load(1)
    rows: list[dict[str, object]] = []
    for name, source in (("six words of a reader", pieces(data)), ("AN4 utterances", spelled(data))):
        items = list(source)
        items = [items[i * len(items) // count] for i in range(min(count, len(items)))]
        heard = []
        for sound, text in items:
            audio = Audio("phrase", np.ascontiguousarray(sound, np.float32))
            words, _ = recognize(audio, [Segment(0.0, audio.duration)])
            heard.append((text, " ".join(word.text for word in words)))
        others = [(text, other) for text, _ in heard for said, other in heard if said != text]
        errors, foreign = ([challenge.match_phrase(*pair).errors for pair in each] for each in (heard, others))
        row: dict[str, object] = {"recognizer": recognizer, "speech": name, "phrases": len(heard)}
        row |= {f"rejected at {b:g}": round(float(np.mean(np.array(errors) > b)), 3) for b in BOUNDS}
        row["another phrase accepted at 0.5"] = round(float(np.mean(np.array(foreign) <= 0.5)), 4)
        rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print(" | ".join(columns))
    for row in rows:
        print(" | ".join(str(row.get(column, "")) for column in columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--models", default="aasist-l,aasist")
    parser.add_argument("--recognizers", default="moonshine,pocketsphinx")
    parser.add_argument("--count", type=int, default=60)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data, store, rng = args.shared / "data", Store(), np.random.default_rng(0)
    honest = people(data, args.count)
    with tempfile.TemporaryDirectory() as folder:
        machines = synthetic(data, args.count, Path(folder))
    originals = honest["readers"][::2]
    attacks: dict[str, Sounds] = {**machines, "replay": [replayed(sound, rng) for sound in originals]}
    for program, sounds in machines.items():
        attacks[f"{program}, telephone"] = [telephone(sound) for sound in sounds]
        attacks[f"{program}, room"] = [room(sound, rng) for sound in sounds]
    results: dict[str, object] = {"replays found by fingerprint": replay_found(originals, attacks["replay"])}
    print(results)
    verifier = Verifier(store, honest["readers"])
    print(f"verifier at LLR 0: miss {verifier.miss:.3f}, false alarm {verifier.false_alarm:.4f}")
    results["verifier"] = {"miss": verifier.miss, "false alarm": verifier.false_alarm}
    errors = {name: verifier.errors(name, sounds) for name, sounds in attacks.items()}
    for name in filter(None, args.models.split(",")):
        config = Config.model_validate({"spoof": {"enabled": True, "model": name}, "embedder": {"backend": "ge2e"}})
        choice = plan.make(config, store).spoof
        assert choice is not None
        countermeasure = choice.load(1)
        scores = {each: score(countermeasure, sounds) for each, sounds in {**honest, **attacks}.items()}
        rows = measure(scores, list(honest), errors)
        results[name] = {"rows": rows, "scores": {each: [round(v, 3) for v in row] for each, row in scores.items()}}
        print(name)
        table(rows)
        machine = [v for each in machines for v in scores[each]]
        title = f"{name}: readers against espeak-ng and flite, clean"
        plots.det(args.out / f"{name}-det.png", scores["readers"], machine, title)
        everybody = [v for each in honest for v in scores[each]]
        every_attack = [v for each in attacks for v in scores[each]]
        plots.det(args.out / f"{name}-det-all.png", everybody, every_attack, f"{name}: all people against all attacks")
    phrases: list[dict[str, object]] = []
    for recognizer in filter(None, args.recognizers.split(",")):
        phrases += liveness(data, store, recognizer, args.count)
    results["phrases"] = phrases
    table(phrases)
    (args.out / "spoofing.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
