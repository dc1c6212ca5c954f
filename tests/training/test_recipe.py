"""A recipe is read as it is written, and what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diarize.errors import ConfigError
from diarize.training import recipe as recipes
from diarize.training.recipe import parse

DATA = [{"folder": "voices"}]


def values(**others: Any) -> dict[str, Any]:
    return {"name": "mine", "out": "run", "data": DATA, **others}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"training": {"epoch": 3}}, r"training\.epoch: no setting has this name\. Did you mean 'epochs'\?"),
        ({"augmentation": {}}, r"augmentation: no setting has this name\. Did you mean 'augment'\?"),
        ({"data": [{"foldr": "x", "folder": "y"}]}, r"data\.0\.foldr: .* Did you mean 'folder'"),
        ({"data": [{"folder": "x", "cuts": "y"}]}, "exactly one of folder, manifest, cuts and common_voice"),
        ({"data": []}, "data"),
        ({"training": {"crop": 0.1}}, r"training\.crop: .*\(got 0\.1\)"),
        ({"model": {"architecture": "xvektor"}}, "'xvector'"),
        ({"augment": {"speeds": [1.0]}}, "between 0.5 and 2"),
        ({"augment": {"noise_snr": [9, 3]}}, "lowest, highest"),
        ({"name": "ge2e"}, "a known model has this name"),
        ({"name": "../up"}, "no name for a model"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(values(**wrong), "recipe.toml")


def test_a_domain_is_a_preset_that_the_file_can_change(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "mine"\nout = "run"\ndata = [{folder = "voices"}]\n[augment]\nnoise = 0.9\n')
    plain, telephone = recipes.read(path), recipes.read(path, "telephone")
    assert (plain.augment.telephone, telephone.augment.telephone) == (0.0, 0.6)
    assert telephone.augment.noise == 0.9
    assert plain.out == tmp_path / "run" and plain.data[0].path == tmp_path / "voices"
    assert recipes.read(path, teacher="community-1").teacher.model == "community-1"
    for name in recipes.DOMAINS:
        assert recipes.read(path, name).domain == name


def test_the_digest_is_of_what_changes_weights() -> None:
    first = parse(values(), "recipe")
    assert parse(values(licence="MIT", training={"checkpoint": 5.0}), "recipe").digest == first.digest
    assert parse(values(training={"seed": 1}), "recipe").digest != first.digest


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("name = ")
    for name in ("broken.toml", "missing.toml"):
        with pytest.raises(ConfigError, match=name):
            recipes.read(tmp_path / name)
