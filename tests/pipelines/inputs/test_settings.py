"""Which layer wins, and what each says when it is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from diarize.errors import ConfigError
from pipelines.cli.commands import options
from pipelines.inputs import settings


def test_defaults_stand_when_nobody_says_anything() -> None:
    found = settings.resolve({}, None, {})
    assert set(found.origins.values()) == {"default"}
    assert found.config.cluster.num_speakers is None


def test_the_command_line_wins_over_the_file_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[cluster]\nmax_speakers = 7\nmin_speakers = 2\n[vad]\npad = 0.2\n")
    environment = {"DIARIZE_CLUSTER_MAX_SPEAKERS": "9", "DIARIZE_VAD_THRESHOLD": "0.6", "HOME": "/nowhere"}
    found = settings.resolve({"cluster.min_speakers": 3}, file, environment)
    assert found.config.cluster.min_speakers == 3
    assert found.config.cluster.max_speakers == 7
    assert found.config.vad.pad == 0.2
    assert found.config.vad.threshold == 0.6
    assert found.origins["cluster.min_speakers"] == "command line"
    assert found.origins["cluster.max_speakers"] == str(file)
    assert found.origins["vad.threshold"] == "DIARIZE_VAD_THRESHOLD"
    assert found.origins["turns.gap"] == "default"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[asr]\nlanguage = 'de'\n")
    assert settings.resolve({}, None, {"DIARIZE_CONFIG": str(file)}).config.asr.language == "de"


def test_formats_in_the_environment_are_a_list() -> None:
    assert settings.resolve({}, None, {"DIARIZE_OUTPUT_FORMATS": "srt, rttm"}).config.output.formats == ("srt", "rttm")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[cluster]\nspeakers = 3\n", "cluster.speakers"),
        ("[clutser]\n", "clutser"),
        ("[vad]\nthreshold = 2\n", "vad.threshold"),
        ("[vad]\nthreshold = 'x'\n", "vad.threshold"),
        ("[asr]\nbeam = 0\n", "asr.beam"),
    ],
)
def test_a_wrong_key_or_value_in_a_file_is_refused_by_name(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings.resolve({}, file, {})
    assert caught.value.where == str(file)
    assert caught.value.key == key


def test_a_file_that_is_no_toml_or_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    with pytest.raises(ConfigError, match=r"run\.toml"):
        settings.resolve({}, file, {})
    file.write_text("cluster = [")
    with pytest.raises(ConfigError, match=r"run\.toml"):
        settings.resolve({}, file, {})


@pytest.mark.parametrize(
    "text", ["a = " + "1" * 5000, "a = " + "[" * 5000, "a = '\x00'", "[vad]\npad = nan\n", "[vad]\npad = inf\n"]
)
def test_absurd_files_are_refused_with_their_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.toml"):
        settings.resolve({}, file, {})


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="DIARIZE_CLUSTER_MAX_SPEAKERS"):
        settings.resolve({}, None, {"DIARIZE_CLUSTER_MAX_SPEAKER": "9"})


def test_a_wrong_value_names_the_layer_it_came_from() -> None:
    with pytest.raises(ConfigError) as caught:
        settings.resolve({}, None, {"DIARIZE_VAD_PAD": "wide"})
    assert caught.value.where == "DIARIZE_VAD_PAD"


@pytest.mark.parametrize("count", [0, -1])
def test_fault_33_a_count_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.num_speakers"):
        settings.resolve({"cluster.num_speakers": count}, None, {})


def test_fault_33_more_at_least_than_at_most_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_speakers"):
        settings.resolve({"cluster.min_speakers": 5, "cluster.max_speakers": 2}, None, {})


def test_every_setting_says_what_it_means() -> None:
    assert [key for key in settings.list_keys() if not settings.describe(key)] == []


@pytest.mark.parametrize(
    ("typed", "environment", "where"),
    [
        (["--num-speakers", "0"], {}, "--num-speakers"),
        (["--min-speakers", "5", "--max-speakers", "2"], {}, "--min-speakers, --max-speakers"),
        (
            ["--max-speakers", "2"],
            {"DIARIZE_CLUSTER_MIN_SPEAKERS": "5"},
            "DIARIZE_CLUSTER_MIN_SPEAKERS, --max-speakers",
        ),
        (["--workers", "-1", "--vad", "energy"], {}, "--workers"),
        (["--channel", "left"], {}, "--channel"),
    ],
)
def test_a_wrong_option_is_named_as_it_was_typed(
    typed: list[str], environment: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text)
    command = argparse.ArgumentParser()
    options.add(command)
    with pytest.raises(ConfigError) as caught:
        options.resolve(command.parse_args(typed))
    assert caught.value.where == where
    assert "Value error" not in str(caught.value)
    assert "{" not in str(caught.value)


def test_a_wrong_part_of_a_setting_is_of_the_layer_that_gave_it() -> None:
    with pytest.raises(ConfigError) as caught:
        settings.resolve({"output.formats": ["srt", 3], "run.workers": 2}, None, {"DIARIZE_RUN_PATIENCE": "9"})
    assert (caught.value.where, caught.value.key) == ("command line", "output.formats.1")
