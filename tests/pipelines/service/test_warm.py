"""The service is ready when nothing is left to be loaded, and computes what the command line computes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import soundfile

from diarize.config import Config
from diarize.models.store import Store
from pipelines.inputs import settings as layers
from pipelines.people.scoring import Scoring
from pipelines.people.verify import verify_claim
from pipelines.processes import decoding
from tests.pipelines.service.servers import ROOT, Running, running, settings_in

EXAMPLE = ROOT / "examples" / "conversation.flac"

FIRST_REQUESTS = """
import hashlib, sys
from pathlib import Path
from diarize.models.store import Store
from pipelines.service.work.uploads import Upload
from pipelines.service.work.voice_service import VoiceService
from tests.pipelines.service.servers import settings_in, tone

folder = Path(sys.argv[1])
service = VoiceService(settings_in(folder), Store(offline=True))
service.models.load()
assert not service.models.failure, service.models.failure
children = [decoder._process.process.pid for decoder in service.decoder._all if decoder._process]
before = set(sys.modules)

def upload(number):
    path = folder / f"{number}.wav"
    path.write_bytes(tone(300.0, 5.0, number))
    return Upload(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())

id = service.room.create("default", "Anna", None, None)["id"]
for number in range(2):
    added = service.room.add_utterance("default", id, upload(number), frozenset({"clipping", "voices"}), None)
    assert added.outcome == "counted"
assert service.decider.verify("default", id, upload(2))["decision"] == "accept"
assert children == [decoder._process.process.pid for decoder in service.decoder._all if decoder._process]
print(sorted(set(sys.modules) - before))
service.stop()
"""


def test_the_first_requests_load_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_all_threads_are_prepared_before_the_first_request(service: Running) -> None:
    assert service.service.models.ready == service.settings.threads == 2
    if decoding.available():
        assert len(service.service.decoder._all) == 2
    with service.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]) == (200, [])


def test_a_service_whose_models_cannot_be_loaded_is_not_ready(tmp_path: Path) -> None:
    config = layers.resolve_options({"vad": "energy", "embedder": "ge2e", "offline": True}, None, {}).config
    assert isinstance(config, Config)
    settings = settings_in(tmp_path / "data", config=config, calibration=None)
    with running(settings, Store(tmp_path / "models", offline=True)) as own, own.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]) == (503, ["models are not loaded"])
        assert any(line.startswith("models: ") for line in own.lines)


def test_scores_are_those_of_the_command_line(tmp_path: Path, two_embedders: Store) -> None:
    """Bit for bit, with real models: `verify_claim` is what `diarize verify --claim` calls."""
    config = layers.resolve_options({"embedder": "community-1-embedding", "offline": True}, None, {}).config
    assert isinstance(config, Config)
    samples, rate = soundfile.read(EXAMPLE)

    def clip(start: float, end: float) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples[int(start * rate) : int(end * rate)], rate, subtype="PCM_16", format="WAV")
        return buffer.getvalue()

    settings = settings_in(tmp_path / "data", config=config, calibration=None, enrolment_seconds=4.0)
    with running(settings, two_embedders) as own, own.client() as client:
        id = client.post("/v1/speakers", json={"name": "Laura"}).json()["id"]
        for start in (0.7, 4.6):
            path = f"/v1/speakers/{id}/utterances"
            answer = client.post(path, params={"accept": ["noise", "voices"]}, content=clip(start, start + 3.5))
            assert answer.status_code == 201, answer.text
        decisions = set()
        for number, start in enumerate((2.0, 9.0, 20.0, 30.0)):
            recording = tmp_path / f"{number}.wav"
            recording.write_bytes(clip(start, start + 3.0))
            body = client.post("/v1/verify", params={"speaker": id}, content=recording.read_bytes()).json()
            with own.settings.tenants.open("default") as library:
                prior = Scoring(prior=config.identify.prior)
                result = verify_claim(id, recording, library, config, two_embedders, prior)
            ours = (result.score, result.llr, result.posterior, result.threshold, result.b.seconds, result.model)
            assert ours == tuple(body[n] for n in ("score", "llr", "posterior", "threshold", "seconds", "model"))
            decisions.add(result.decision)
        assert decisions >= {"same", "different"}
