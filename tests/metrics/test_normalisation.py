"""Text made comparable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.errors import ConfigError
from diarize.metrics import normalisation
from diarize.metrics.normalisation import STEPS, normalised


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        (("nfkc",), "ﬁne ２０", "fine 20"),
        (("lower",), "Straße ÀÉ", "strasse àé"),
        (("apostrophes",), "don’t ‘so’", "don't 'so'"),
        (("punctuation",), "Well, I don't -- 'know'! wi-fi 50%", "Well I don't know wi fi 50"),
        (("punctuation",), "soft\u00adhyphen \u202eturned می\u200cخواهم", "softhyphen turned می\u200cخواهم"),
        (("unspaced",), "我们 ok 走", "我 们 ok 走"),
        (("brackets",), "so [noise] (laughs) <unk> it is", "so it is"),
        (("fillers",), "Uh, um well uh-huh mm-hmm human ahead", ", well human ahead"),
        (("marks",), "café Zürich", "cafe Zurich"),
        ((), "  As\tit is ", "As it is"),
        (normalisation.DEFAULT, "“Don’t!” SAID he… 我们", "don't said he 我 们"),
    ],
)
def test_steps(steps: tuple[str, ...], before: str, after: str) -> None:
    assert normalised(before, steps) == after


def test_order_is_as_given() -> None:
    assert normalised("[Noise], yes", ("brackets", "punctuation")) == "yes"
    assert normalised("[Noise], yes", ("punctuation", "brackets")) == "Noise yes"


@given(st.text())
def test_the_default_steps_change_nothing_more_a_second_time(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert once == " ".join(once.split())


def test_an_unknown_step_names_the_nearest() -> None:
    assert normalisation.check_steps(["lower", "nfkc"]) == ("lower", "nfkc")
    with pytest.raises(ConfigError, match="Did you mean 'punctuation'") as caught:
        normalisation.check_steps(["lower", "punctuations"])
    assert all(name in str(caught.value) for name in STEPS)
