"""What is said about a wrong command line: one line that begins with the option, with the value and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

import run_pipeline


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on the error stream of a command that is refused with exit status 2."""
    try:
        status = run_pipeline.main(words)
    except SystemExit as exit:
        status = int(str(exit.code))
    captured = capsys.readouterr()
    assert status == 2 and captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("proces in", 'there is no command "proces". Did you mean process? See: diarize --help'),
        ("--vers", "--vers: no such option. Did you mean --version? See: diarize --help"),
        ("speakers lst", 'there is no action "lst". Did you mean list? See: diarize speakers --help'),
        ("process", "recordings and --out are missing. See: diarize process --help"),
        ("process in", "--out is missing. See: diarize process --help"),
        (
            "process in --out o --workes 2",
            "--workes: no such option. Did you mean --workers? See: diarize process --help",
        ),
        (
            "process in --out o --workes=2",
            "--workes: no such option. Did you mean --workers? See: diarize process --help",
        ),
        ("speakers list --jsn", "--jsn: no such option. Did you mean --json? See: diarize speakers list --help"),
        ("process in --out o --workers x", '--workers must be a whole number, not "x". See: diarize process --help'),
        ("process in --out o --top 2.5", '--top must be a whole number, not "2.5". See: diarize process --help'),
        ("process in --out o --workers", "--workers needs a value. See: diarize process --help"),
        ("process in --out o --device gpu", '--device must be one of auto, cpu, cuda, not "gpu". Did you mean cpu?'),
        (
            "verify a --scoring cosin",
            '--scoring must be one of cosine, centred, s-norm, not "cosin". Did you mean cosine?',
        ),
        ("verify a b --prior much", '--prior must be a number, not "much". See: diarize verify --help'),
        ("enroll A b.wav --expires x", '--expires must be a date, as 2030-12-31, not "x". See: diarize enroll --help'),
        ("enroll A b.wav --start 1:30", '--start must be a number, not "1:30". See: diarize enroll --help'),
        ("doctor all", '"all" is one argument too many. See: diarize doctor --help'),
        ("status", "OUT is missing. See: diarize status --help"),
    ],
)
def test_one_line_says_what_is_wrong(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, *words.split()).startswith(f"error: {line}")


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys).startswith("error: no command is named. Known: process, export, status")


@pytest.mark.parametrize("words", [["process", "", "--out", "o"], ["process", "--out", "o", "a", "--match", "x", ""]])
def test_an_empty_path_is_not_the_current_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert 'must be a path, not ""' in said(capsys, *words)


def test_usage_is_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        run_pipeline.main(["process", "--help"])
    assert exit.value.code == 0 and capsys.readouterr().out.startswith("usage: diarize process")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[clustre]\nmax_speakers = 3\n", "[clustre]: no such section. Did you mean [cluster]?"),
        ('[cluster]\nmax_speakers = "many"\n', 'cluster.max_speakers must be a whole number, not "many".'),
        ("[cluster]\nmax_speakers = 3.5\n", "cluster.max_speakers must be a whole number, not 3.5."),
        ("[cluster]\nmax_speakers = true\n", "cluster.max_speakers must be a whole number, not true."),
        ("[cluster]\nmax_speaker = 3\n", "cluster.max_speaker: no such setting. Did you mean cluster.max_speakers?"),
        ("[cluster]\nmargin = 3\n", "cluster.margin: no such setting. Did you mean identify.margin?"),
        ("[vad]\nthreshold = 2\n", "vad.threshold must be below 1, not 2."),
        ("[vad]\nthreshold = 'x'\n", 'vad.threshold must be a number, not "x".'),
        ("[run]\noffline = 'maybe'\n", 'run.offline must be true or false, not "maybe".'),
        ("[output]\nformats = 'srt'\n", 'output.formats must be a list, as ["srt", "rttm"], not "srt".'),
        ("[asr]\nlanguage = 'german'\n", 'asr.language must be a code of two or three letters, as en, not "german".'),
        ("[run]\nengine = 'locl'\n", 'run.engine must be one of "local", "ray", not "locl". Did you mean local?'),
        ("profil = 'fast'\n", "profil: no such setting. Did you mean profile?"),
        ("cluster = 3\n", "cluster must be a section, [cluster], not 3."),
        ("[asr\n", "is not valid TOML: Expected"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_key(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert said(capsys, "config", "show", "--config", str(file)).startswith(f"error: {file}: {line}")


def test_a_mistake_in_a_variable_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DIARIZE_CLUSTER_MAX_SPEAKERS", "many")
    line = said(capsys, "config", "show")
    assert line.startswith('error: DIARIZE_CLUSTER_MAX_SPEAKERS must be a whole number, not "many".')
