"""Networks and losses: gradients against differences, losses against their definitions, ONNX against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the extra train brings it")

from diarize.training import exporting, losses  # noqa: E402
from diarize.training.architectures import autospeech, pooling  # noqa: E402
from diarize.training.architectures.building import NETWORKS, build  # noqa: E402

SMALL = {"xvector": 16, "ecapa": 16, "resnet34": 4, "redimnet": 4, "autospeech": 4, "speechidentity": 8}


def small(name: str) -> Any:
    torch.manual_seed(1)
    return build(name, 24, SMALL[name], 16)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_is_exported_and_takes_any_length(name: str) -> None:
    network = small(name)
    network(3 * torch.randn(8, 60, 24)).sum().backward()  # so that its batch norms have seen something
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    exported = exporting.export(network, 24)
    assert exported.difference <= exporting.TOLERANCE
    network.eval()
    with torch.inference_mode():
        for frames in (48, 500):
            assert network(torch.randn(2, frames, 24)).shape == (2, 16)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_gradients_of_networks_are_those_of_differences(name: str) -> None:
    network = small(name).double().eval()
    x = torch.randn(1, 30, 24, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(x)
    weights = torch.randn(16, dtype=torch.float64)
    (network(x)[0] @ weights).backward()
    step = 1e-6
    with torch.inference_mode():
        above, below = ((network(x + sign * step * direction)[0] @ weights).item() for sign in (1, -1))
    assert (x.grad * direction).sum().item() == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-7)


def test_gradients_of_pooling_and_losses() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pooling.statistics, (x,))
    assert torch.autograd.gradcheck(pooling.AttentiveStatistics(4, 5).double(), (x,))
    vectors = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    speakers = torch.tensor([0, 0, 1, 1, 2, 2])
    margin = losses.AngularMargin(5, 3, 8.0, subcentres=2).double()
    margin.margin = 0.3
    criteria = [margin, losses.CrossEntropy(5, 3), losses.SemiHardTriplet(0.5), losses.GeneralisedEndToEnd()]
    for criterion in criteria:
        criterion.double()
        assert torch.autograd.gradcheck(lambda v, c=criterion: c(v, speakers), (vectors,)), criterion
        assert all(torch.autograd.gradcheck(lambda p, c=criterion: c(vectors.detach(), speakers), (parameter,))
                   for parameter in criterion.parameters())  # fmt: skip
    targets = torch.nn.functional.normalize(torch.randn(6, 7, dtype=torch.float64))
    imitation = losses.Imitation(5, 7, 1.0).double()
    assert torch.autograd.gradcheck(lambda v: imitation(v, targets), (vectors,))


def test_the_angular_margin_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    criterion = losses.AngularMargin(5, 3, 16.0)
    vectors, speakers = torch.randn(4, 5), torch.tensor([0, 2, 1, 1])
    criterion.margin = 0.2
    centres = torch.nn.functional.normalize(criterion.centres.detach()).numpy()
    cosines = torch.nn.functional.normalize(vectors).numpy() @ centres.T
    total = 0.0
    for row, own in zip(cosines, speakers.tolist(), strict=True):
        moved = row.copy()
        moved[own] = np.cos(np.arccos(row[own]) + 0.2)
        total += np.log(np.exp(16 * moved).sum()) - 16 * moved[own]
    assert criterion(vectors, speakers).item() == pytest.approx(total / 4, rel=1e-5)
    criterion.margin = 0.0
    assert criterion(vectors, speakers).item() < total / 4  # a margin makes it harder


def test_triplets_are_semi_hard() -> None:
    angles = torch.tensor([0.0, 0.3, 0.5, 1.5])
    vectors, speakers = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([0, 0, 1, 1])

    def squared(a: int, b: int) -> float:
        return 2 - 2 * float(torch.cos(angles[a] - angles[b]))

    # (anchor, positive) -> the nearest negative that is farther than the positive, else the farthest.
    chosen = {(0, 1): 2, (1, 0): 3, (2, 3): 0, (3, 2): 1}
    expected = np.mean([max(0.0, squared(a, p) - squared(a, n) + 0.5) for (a, p), n in chosen.items()])
    assert losses.SemiHardTriplet(0.5)(vectors, speakers).item() == pytest.approx(expected, rel=1e-5)
    assert losses.SemiHardTriplet(0.5)(vectors[:2], speakers[:2]).item() == 0


def test_ge2e_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    vectors, speakers = torch.randn(6, 4), torch.tensor([3, 3, 7, 7, 9, 9])
    unit = torch.nn.functional.normalize(vectors).numpy()
    total = 0.0
    for i in range(6):
        row = []
        for name in (3, 7, 9):
            members = [j for j in range(6) if speakers[j] == name and j != i]
            mean = unit[members].mean(axis=0)
            row.append(10 * unit[i] @ mean / np.linalg.norm(mean) - 5)
        total += np.log(np.exp(row).sum()) - row[[3, 7, 9].index(int(speakers[i]))]
    assert losses.GeneralisedEndToEnd()(vectors, speakers).item() == pytest.approx(total / 6, rel=1e-4)


def test_a_genotype_is_read_and_never_run(tmp_path: Any) -> None:
    normal, reduction = autospeech.parse_genotype(autospeech.PUBLISHED)
    assert normal[0] == ("dil_conv_5x5", 1) and len(reduction) == 8
    every = ", ".join(f"('{name}', {i % 2})" for i, name in enumerate(autospeech.OPERATIONS))
    network = build("autospeech", 24, 4, 8, f"Genotype(normal=[{every}], reduce=[{every}])")
    assert exporting.export(network, 24).difference <= exporting.TOLERANCE
    attack = f"Genotype(normal=__import__('os').system('touch {tmp_path}/ran'), reduce=[])"
    for text in (attack, "", "x", "Genotype(normal=[], reduce=[])", autospeech.PUBLISHED.replace("3', 2)", "3', 9)")):
        with pytest.raises(ValueError, match="no genotype"):
            autospeech.parse_genotype(text)
    assert not (tmp_path / "ran").exists()
