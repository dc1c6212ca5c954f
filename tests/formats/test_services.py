"""JSON of transcription services: the published shapes, and what is none of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.errors import FormatError
from diarize.formats import services, words
from diarize.types import Word

Row = tuple[str, float, float, str | None]  # text, start, end, speaker


def read(value: Any) -> tuple[list[Row], str | None]:
    found, language = words.loads(value if isinstance(value, str) else json.dumps(value), "file.json")
    return [(w.text, w.start, w.end, w.speaker) for w in found], language


TALK = [("Good", 2.4, 2.7, "A"), ("morning.", 2.75, 3.3, "A"), ("Hello", 9.6, 9.9, "B")]

ASSEMBLYAI = {
    "id": "x1",
    "language_code": "en_us",
    "audio_url": "https://example.com/a.wav",
    "status": "completed",
    "text": "Good morning. Hello",
    "audio_duration": 15,
    "words": [
        {"text": text, "start": round(a * 1000), "end": round(b * 1000), "confidence": 0.5, "speaker": who}
        for text, a, b, who in TALK
    ],
    "utterances": None,
}
DEEPGRAM = {
    "metadata": {"request_id": "1", "duration": 15.0, "channels": 1},
    "results": {
        "channels": [
            {
                "detected_language": "en",
                "alternatives": [
                    {
                        "transcript": "good morning hello",
                        "confidence": 0.99,
                        "words": [
                            {"word": "good", "start": 2.4, "end": 2.7, "confidence": 0.5, "speaker": 0},
                            {
                                "word": "morning",
                                "punctuated_word": "Morning.",
                                "start": 2.75,
                                "end": 3.3,
                                "confidence": 0.9,
                                "speaker": 0,
                                "speaker_confidence": 0.6,
                            },
                            {"word": "hello", "start": 9.6, "end": 9.9, "confidence": 0.9, "speaker": 1},
                        ],
                    }
                ],
            }
        ]
    },
}


def aws(content: str, start: float, end: float, **labels: str) -> dict[str, Any]:
    times = {"start_time": str(start), "end_time": str(end)}
    return {"type": "pronunciation", "alternatives": [{"confidence": "0.5", "content": content}], **times, **labels}


AWS = {
    "jobName": "job",
    "accountId": "1",
    "status": "COMPLETED",
    "results": {
        "transcripts": [{"transcript": "Good morning. Hello"}],
        "language_code": "en-US",
        "speaker_labels": {
            "speakers": 2,
            "segments": [
                {
                    "start_time": "2.4",
                    "end_time": "3.3",
                    "speaker_label": "spk_0",
                    "items": [
                        {"start_time": "2.4", "end_time": "2.7", "speaker_label": "spk_0"},
                        {"start_time": "2.75", "end_time": "3.3", "speaker_label": "spk_0"},
                    ],
                },
                {
                    "start_time": "9.6",
                    "end_time": "9.9",
                    "speaker_label": "spk_1",
                    "items": [{"start_time": "9.6", "end_time": "9.9", "speaker_label": "spk_1"}],
                },
            ],
        },
        "items": [
            aws("Good", 2.4, 2.7),
            aws("morning", 2.75, 3.3),
            {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]},
            aws("Hello", 9.6, 9.9),
        ],
    },
}
GOOGLE = {
    "results": [
        {
            "alternatives": [
                {
                    "transcript": "Good morning.",
                    "confidence": 0.9,
                    "words": [
                        {"startTime": "2.400s", "endTime": "2.700s", "word": "Good"},
                        {"startTime": "2.750s", "endTime": "3.300s", "word": "morning."},
                    ],
                }
            ],
            "resultEndTime": "3.300s",
            "languageCode": "en-us",
        },
        {
            "alternatives": [
                {
                    "words": [
                        {"startTime": "2.400s", "endTime": "2.700s", "word": "Good", "speakerTag": 1},
                        {"startTime": "2.750s", "endTime": "3.300s", "word": "morning.", "speakerTag": 1},
                        {"startTime": "9.600s", "endTime": "9.900s", "word": "Hello", "speakerTag": 2},
                    ]
                }
            ]
        },
    ]
}
TICKS = 10_000_000


def azure(text: str, start: float, end: float, speaker: int, *parts: tuple[str, float, float]) -> dict[str, Any]:
    return {
        "recognitionStatus": "Success",
        "channel": 0,
        "speaker": speaker,
        "locale": "en-US",
        "offset": f"PT{start}S",
        "duration": f"PT{end - start:.2f}S",
        "offsetInTicks": start * TICKS,
        "durationInTicks": (end - start) * TICKS,
        "nBest": [
            {
                "confidence": 0.5,
                "lexical": text.lower(),
                "display": text,
                "displayWords": [
                    {"displayText": part, "offsetInTicks": a * TICKS, "durationInTicks": (b - a) * TICKS}
                    for part, a, b in parts
                ],
            },
            {"confidence": 0.4, "lexical": "other", "display": "Other."},
        ],
    }


AZURE = {
    "source": "https://example.com/a.wav",
    "durationInTicks": 15 * TICKS,
    "combinedRecognizedPhrases": [],
    "recognizedPhrases": [
        azure("Good morning.", 2.4, 3.3, 1, ("Good", 2.4, 2.7), ("morning.", 2.75, 3.3)),
        {"recognitionStatus": "NoMatch", "channel": 0, "offsetInTicks": 50_000_000, "nBest": []},
        azure("Hello", 9.6, 9.9, 2),
    ],
}
AZURE_FAST = {
    "durationMilliseconds": 15000,
    "combinedPhrases": [{"text": "Good morning. Hello"}],
    "phrases": [
        {
            "offsetMilliseconds": 2400,
            "durationMilliseconds": 900,
            "text": "Good morning.",
            "speaker": 1,
            "locale": "en-US",
            "words": [
                {"text": "Good", "offsetMilliseconds": 2400, "durationMilliseconds": 300},
                {"text": "morning.", "offsetMilliseconds": 2750, "durationMilliseconds": 550},
            ],
        },
        {"offsetMilliseconds": 9600, "durationMilliseconds": 300, "text": "Hello", "speaker": 2, "locale": "en-US"},
    ],
}
REV = {
    "monologues": [
        {
            "speaker": 0,
            "elements": [
                {"type": "text", "value": "Good", "ts": 2.4, "end_ts": 2.7, "confidence": 0.5},
                {"type": "punct", "value": " "},
                {"type": "text", "value": "morning", "ts": 2.75, "end_ts": 3.3, "confidence": 1},
                {"type": "punct", "value": "."},
                {"type": "unknown", "value": "<laugh>"},
            ],
        },
        {"speaker": 1, "elements": [{"type": "text", "value": "Hello", "ts": 9.6, "end_ts": 9.9, "confidence": 1}]},
    ]
}


def speechmatics(content: str, start: float, end: float, speaker: str, **more: Any) -> dict[str, Any]:
    alternatives = [{"content": content, "confidence": 0.5, "speaker": speaker, "language": "en"}]
    return {"type": "word", "start_time": start, "end_time": end, "alternatives": alternatives, **more}


SPEECHMATICS = {
    "format": "2.9",
    "job": {"duration": 15},
    "metadata": {"transcription_config": {"language": "en"}},
    "results": [
        speechmatics("Good", 2.4, 2.7, "S1"),
        speechmatics("morning", 2.75, 3.3, "S1"),
        speechmatics(".", 3.3, 3.3, "S1", type="punctuation", attaches_to="previous", is_eos=True),
        {"type": "speaker_change", "start_time": 5, "end_time": 5},
        speechmatics("Hello", 9.6, 9.9, "S2"),
    ],
}
PODCAST = {
    "version": "1.0.0",
    "segments": [
        {"speaker": "Anna", "startTime": 2.4, "endTime": 2.7, "body": "Good"},
        {"speaker": "Anna", "startTime": 2.75, "endTime": 3.3, "body": "morning."},
        {"speaker": "Ben", "startTime": 9.6, "endTime": 9.9, "body": "Hello"},
    ],
}
RESPONSES: dict[str, tuple[Any, tuple[str, str], str | None]] = {  # service -> (response, its speakers, language)
    "AssemblyAI": (ASSEMBLYAI, ("A", "B"), "en"),
    "Deepgram": (DEEPGRAM, ("0", "1"), "en"),
    "AWS Transcribe": (AWS, ("spk_0", "spk_1"), "en"),
    "Google Speech": (GOOGLE, ("1", "2"), "en"),
    "Azure Speech": (AZURE, ("1", "2"), "en"),
    "Azure Speech, fast": (AZURE_FAST, ("1", "2"), "en"),
    "Rev.ai": (REV, ("0", "1"), None),
    "Speechmatics": (SPEECHMATICS, ("S1", "S2"), "en"),
    "Podcasting 2.0": (PODCAST, ("Anna", "Ben"), None),
}


@pytest.mark.parametrize("service", RESPONSES)
def test_words_times_and_speakers(service: str) -> None:
    value, speakers, language = RESPONSES[service]
    rows, its_language = read(value)
    expected = [(text, a, b, speakers["AB".index(who)]) for text, a, b, who in TALK]
    assert [(text.capitalize(), *rest) for text, *rest in rows] == [
        (text.capitalize(), *rest) for text, *rest in expected
    ]
    assert its_language == language
    assert services.find(value).__module__ == f"diarize.formats.{services.SERVICES[service.split(',')[0]]}"


def test_every_service_is_tested() -> None:
    assert {name.split(",")[0] for name in RESPONSES} == set(services.SERVICES)


def test_confidences() -> None:
    for value, _, _ in (RESPONSES[name] for name in RESPONSES if name not in ("Google Speech", "Podcasting 2.0")):
        found, _ = words.loads(json.dumps(value), "file.json")
        assert found[0].probability == (None if "phrases" in value or "recognizedPhrases" in value else 0.5)


def test_channels_are_speakers() -> None:
    def channel(text: str, start: float) -> dict[str, Any]:
        return {"alternatives": [{"transcript": text, "words": [{"word": text, "start": start, "end": start + 1}]}]}

    rows = [("b", 1.0, 2.0, "CHANNEL_1"), ("a", 3.0, 4.0, "CHANNEL_0")]
    assert read({"results": {"channels": [channel("a", 3), channel("b", 1)]}})[0] == rows
    labels = {
        "channels": [
            {"items": [aws("a", 3, 4, channel_label="ch_0")]},
            {"items": [aws("b", 1, 2, channel_label="ch_1")]},
        ]
    }
    assert read({"results": {"transcripts": [{"transcript": "a b"}], "channel_labels": labels}})[0] == rows
    google = [
        {"alternatives": [{"words": [{"word": w, "startOffset": f"{a}s", "endOffset": f"{a + 1}s"}]}], **tag}
        for w, a, tag in (("a", 3, {"channelTag": 1}), ("b", 1, {"channelTag": 2}))
    ]
    assert read({"results": google})[0] == rows
    assert read({"response": {"@type": "x", "results": google}})[0] == rows
    assert read({"results": {"gs://a.wav": {"transcript": {"results": google}}}})[0] == rows
    phrases = [
        {"channel": c, "text": w, "offsetMilliseconds": s, "durationMilliseconds": 1000}
        for c, w, s in ((0, "a", 3000), (1, "b", 1000))
    ]
    assert read({"combinedPhrases": [], "phrases": phrases})[0] == rows
    agents = [speechmatics("a", 3, 4, "UU", channel="Agent"), speechmatics("b", 1, 2, "UU", channel="Caller")]
    assert read({"format": "2.9", "results": agents})[0] == [("b", 1.0, 2.0, "Caller"), ("a", 3.0, 4.0, "Agent")]


def test_other_versions_of_the_shapes() -> None:
    utterance = {"text": "Hi you", "start": 1000, "end": 2000, "speaker": "A"}
    rows, _ = read({**ASSEMBLYAI, "words": None, "utterances": [utterance]})
    assert rows == [("Hi", 1.0, 1.4, "A"), ("you", 1.4, 2.0, "A")]
    times = {"start_time": {"seconds": 61, "nanos": 500_000_000}, "end_time": {"seconds": 62}}
    rows, _ = read({"results": [{"alternatives": [{"words": [{"word": "Hi", "speaker_label": "x", **times}]}]}]})
    assert rows == [("Hi", 61.5, 62.0, "x")]
    results = [
        {"alternatives": [{"transcript": text}], "resultEndTime": end}
        for text, end in (("one two", "6s"), ("six", "7s"))
    ]
    assert read({"results": results})[0] == [("one", 0.0, 3.0, None), ("two", 3.0, 6.0, None), ("six", 6.0, 7.0, None)]
    iso = {"recognizedPhrases": [{"offset": "PT1M2.5S", "duration": "PT1H", "nBest": [{"display": "Hi."}]}]}
    assert read(iso)[0] == [("Hi.", 62.5, 3662.5, None)]
    rev = {
        "speakers": [{"id": 7, "name": "Anna"}],
        "monologues": [{"speaker": 7, "elements": [
            {"type": "punct", "value": "¿"},
            {"type": "text", "value": "Qué", "timestamp": "00:00:01,000", "end_timestamp": "00:00:01,500"},
            {"type": "punct", "value": "?"},
        ]}],
    }  # fmt: skip
    assert [row[0] for row in read(rev)[0]] == ["¿", "Qué?"] and read(rev)[0][1][1:] == (1.0, 1.5, "Anna")
    spanish = [
        speechmatics("¿", 1, 1, "S1", type="punctuation", attaches_to="next"),
        speechmatics("Qué", 1, 2, "UU"),
        speechmatics("20%", 2, 3, "S1", type="entity"),
    ]
    assert read({"format": "2.9", "results": spanish})[0] == [("¿Qué", 1.0, 2.0, None), ("20%", 2.0, 3.0, "S1")]
    assert read({"segments": [{"startTime": 1, "body": "Hello there"}]})[0][0][:2] == ("Hello", 1.0)


@pytest.mark.parametrize(
    "value",
    [
        {**ASSEMBLYAI, "words": []},  # a text without words
        {**ASSEMBLYAI, "status": "processing", "words": None},
        {**ASSEMBLYAI, "status": "error", "error": "file is not audio", "words": None},
        {"results": {"channels": [{"alternatives": [{"transcript": "hi"}]}]}},
        {"results": {"channels": [{"alternatives": [{"transcript": "hi", "words": [{"start": 1, "end": 2}]}]}]}},
        {"results": {"channels": [{}]}},
        {"results": {"transcripts": [{"transcript": "hi"}], "items": []}},
        {"results": {"transcripts": [], "items": None}},
        {"results": [{"alternatives": [{"transcript": "hi"}]}]},  # Google without times
        {"results": [{"alternatives": [{"transcript": "hi", "timestamps": [["hi", 0, 1]]}], "final": True}]},  # Watson
        {"results": []},
        {"results": {}},
        {"recognizedPhrases": [{"offsetInTicks": 1, "nBest": [{"confidence": 1}]}]},
        {"monologues": [{"speaker": 0}]},
        {"monologues": [{"speaker": 0, "elements": [{"type": "text", "ts": 1}]}]},
        {"monologues": [{"speaker": 0, "elements": [{"type": "gesture", "value": "nods"}]}]},
        {"format": "2.9", "results": [{"type": "word", "start_time": 1, "end_time": 2}]},
        {"segments": [{"startTime": 1, "body": None}]},
        {"segments": [{"startTime": 1, "body": "a"}, {"startTime": 2}]},
        {"segments": [{"start": 0, "end": 1}]},  # whisper without text
        {"segments": [], "text": "hello"},
        {"segments": {}},
        {"segments": [{"start": 0, "end": 1, "text": "a", "words": {"word": "a"}}]},
        {"chunks": [], "text": "hello"},
        {"words": [], "text": "hello", "duration": 2},
        {"text": "hello"},
        {"segments": [{"start": 0, "end": 1, "text": float("nan")}]},
    ],
)
def test_an_unknown_or_incomplete_shape_is_an_error(value: Any) -> None:
    with pytest.raises(FormatError):
        read(value)


def test_silence_is_no_error() -> None:
    values: tuple[Any, ...] = (
        {**ASSEMBLYAI, "words": [], "text": ""},
        {"results": {"channels": [{"alternatives": [{"transcript": "", "words": []}]}]}},
        {"results": {"transcripts": [{"transcript": ""}], "items": []}},
        {"results": [], "totalBilledTime": "15s"},
        {"recognizedPhrases": []},
        {"monologues": []},
        {"format": "2.9", "results": []},
        {"segments": [], "text": "", "language": "en"},
        {"chunks": [], "text": " "},
    )
    for value in values:
        assert read(value)[0] == []


def test_nan_and_infinity_are_unknown() -> None:
    text = (
        '{"segments": [{"start": 2, "end": 3, "text": "Good day", "words": [{"word": "Good", "start": 2, "end": 2.5, '
    )
    text += '"score": NaN}, {"word": "day", "start": Infinity, "end": 3, "score": -Infinity}]}]}'
    assert words.loads(text, "f") == ((Word(2.0, 2.5, "Good", None), Word(2.8, 3.0, "day", None)), None)
    with pytest.raises(FormatError, match="NaN is not a JSON number"):
        words.loads('{"schema": "diarize-transcript/1", "duration": NaN}', "f")


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is a value in a JSON value."""
    own = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return own + [place for key, item in items for place in paths(item, (*path, key))]


STRANGE = (
    "null",
    "true",
    "-1",
    "1e300",
    "1" * 400,
    '""',
    '"x"',
    '"1e999"',
    "[]",
    "{}",
    "[null]",
    "[{}]",
    '"-5s"',
    "NaN",
)


@pytest.mark.parametrize("service", RESPONSES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_responses_give_words_or_our_errors(service: str, data: st.DataObject) -> None:
    value = json.loads(json.dumps(RESPONSES[service][0]))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(value)))
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[path[-1]] = json.loads(data.draw(st.sampled_from(STRANGE)))
        else:
            del inner[path[-1]]
        if not paths(value):
            break
    try:
        found, _ = words.loads(json.dumps(value), "file.json")
    except FormatError as error:
        assert str(error).startswith("file.json")
    else:
        assert all(word.text.strip() and word.start <= word.end for word in found)
