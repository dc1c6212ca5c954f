"""A client of the service (`diarize serve`), typed and small; needs the extra `client` (docs/service.md).

from diarize.client import Client

with Client("http://127.0.0.1:8750", key="dz_...") as service:
    anna = service.create("Anna Maria", consent="by letter, 2031-05-02")
    service.add_utterance(anna.id, "anna1.wav")
    print(service.verify(anna.id, "claim.wav").decision)
"""

from diarize.client.connection import (
    Client,
    RemoteChallenge,
    RemoteDecision,
    RemoteSpeaker,
)
from diarize.client.errors import ServiceError, ServiceUnreachable

__all__ = ["Client", "RemoteChallenge", "RemoteDecision", "RemoteSpeaker", "ServiceError", "ServiceUnreachable"]
