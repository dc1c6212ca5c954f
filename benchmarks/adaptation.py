"""What adaptation to a domain gains without training, with recordings of another domain as a source.

    python -m benchmarks.adaptation [--embedder community-1-embedding] [--data DATA] [--cache FOLDER] [--json FILE]

The domains are an4-dev and speechocean-dev, as recorded and through a simulated telephone; the source is the other set
as recorded. EER of each method of `diarize.library.scoring.adaptation` on pairs of speakers that it was not learned
from, of all utterances with a second of speech.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import simulate, verification
from benchmarks.verification import Voices
from diarize.config import Config
from diarize.library.scoring import adaptation
from diarize.models.store import Store
from diarize.types import Vectors
from pipelines.people.utterance import load_embedder

PAIRS = (("an4-dev", "speechocean-dev"), ("speechocean-dev", "an4-dev"))  # domain, source
CHANNELS = ("phone", "close")  # of the domain
LEAST = 1.0  # s of speech


def long_ones(voices: Voices) -> tuple[Vectors, list[str]]:
    """Vectors and speakers of the utterances with enough speech."""
    rows = [i for i, side in enumerate(voices.sides) if side.seconds >= LEAST]
    return voices.vectors[rows], [voices.speakers[i] for i in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="community-1-embedding")
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: there are no utterances in {options.data}")
        return
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    settings = {"embedder": {"backend": options.embedder}, "run": {"device": "cpu"}}
    embedder = load_embedder(Config.model_validate(settings), Store(offline=True))
    rows = []
    for channel in CHANNELS:
        for domain, other in PAIRS:
            voices = verification.voices(options.data, domain, channel, embedder, options.cache)
            source = verification.voices(options.data, other, "close", embedder, options.cache)
            rates = adaptation.measure(*long_ones(voices), adaptation.SourceDomain(*long_ones(source)))
            rows.append({"domain": domain, "channel": channel, "source": other, "eer": rates})
            shown = ", ".join(f"{method} {100 * rate:.2f}" for method, rate in rates.items())
            print(f"{domain}, {channel}; source {other}: {shown}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
