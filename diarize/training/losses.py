"""What training minimises. Each is a module: embeddings (N, d) and speakers (N,) -> a number."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class CrossEntropy(nn.Module):
    """A linear layer over speakers and softmax; thrown away after training."""

    def __init__(self, dimension: int, speakers: int) -> None:
        super().__init__()
        self.output = nn.Linear(dimension, speakers)

    def forward(self, x: Any, speakers: Any) -> Any:
        return functional.cross_entropy(self.output(x), speakers)


class AngularMargin(nn.Module):
    """AAM-softmax: softmax over s cos(angle + m) for the right speaker and s cos(angle) for all others.

    Deng et al. 2018, "ArcFace", arXiv:1801.07698, equation 3. With `subcentres` K > 1, a speaker's angle is that to the
    nearest of K centres (Deng et al. 2020, "Sub-center ArcFace", equation 4). Beyond angle + m = pi, where the cosine
    would rise again, cos(angle) - m sin(m) continues it downwards, as the authors' code does.
    """

    def __init__(self, dimension: int, speakers: int, scale: float, subcentres: int = 1) -> None:
        super().__init__()
        self.scale, self.speakers, self.margin = scale, speakers, 0.0  # `margin` is set by the schedule
        self.centres = nn.Parameter(torch.empty(speakers * subcentres, dimension))
        nn.init.xavier_uniform_(self.centres)

    def forward(self, x: Any, speakers: Any) -> Any:
        cosines = functional.linear(functional.normalize(x), functional.normalize(self.centres))
        cosines = cosines.view(len(x), self.speakers, -1).amax(-1)
        own = cosines.gather(1, speakers[:, None])
        sines = (1 - own.square()).clamp(min=1e-9).sqrt()
        margin = torch.tensor(self.margin, dtype=x.dtype, device=x.device)
        moved = own * margin.cos() - sines * margin.sin()
        moved = torch.where(own > -margin.cos(), moved, own - margin * margin.sin())
        return functional.cross_entropy(self.scale * cosines.scatter(1, speakers[:, None], moved), speakers)


class SemiHardTriplet(nn.Module):
    """Triplets of unit vectors: max(0, |a - p|^2 - |a - n|^2 + margin), for every pair of one speaker.

    The negative is the nearest one that is farther away than the positive; where there is none, the farthest. Schroff
    et al. 2015, "FaceNet", arXiv:1503.03832, section 3.2.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Any, speakers: Any) -> Any:
        x = functional.normalize(x)
        distances = (2 - 2 * x @ x.T).clamp(min=0)
        same = speakers[:, None] == speakers[None]
        anchors, positives = torch.nonzero(same & ~torch.eye(len(x), dtype=torch.bool, device=x.device), as_tuple=True)
        if not len(anchors) or bool(same.all()):
            return distances.sum() * 0
        positive = distances[anchors, positives]
        others = distances[anchors].masked_fill(same[anchors], torch.inf)
        nearest = others.masked_fill(others <= positive[:, None], torch.inf).amin(1)
        farthest = others.masked_fill(others.isinf(), -torch.inf).amax(1)
        negative = torch.where(nearest.isinf(), farthest, nearest)
        return (positive - negative + self.margin).clamp(min=0).mean()


class GeneralisedEndToEnd(nn.Module):
    """GE2E with softmax (Wan et al. 2018, arXiv:1710.10467, equations 5, 6 and 9).

    Similarities w cos + b of each vector to every speaker's mean; a vector is left out of its own speaker's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))

    def forward(self, x: Any, speakers: Any) -> Any:
        x = functional.normalize(x)
        _, index = torch.unique(speakers, return_inverse=True)
        members = functional.one_hot(index).to(x.dtype)  # (N, k)
        sums, counts = members.T @ x, members.sum(0)
        others = functional.normalize(sums[index] - x)  # its speaker's sum without itself
        cosines = x @ functional.normalize(sums).T
        cosines = torch.where(members.bool() & (counts > 1), (x * others).sum(1, keepdim=True), cosines)
        return functional.cross_entropy(self.w.clamp(min=1e-6) * cosines + self.b, index)


class Imitation(nn.Module):
    """The vectors of a teacher for the same clips: 1 - cos of each, and the squared difference of all similarities.

    The second term is that of Park et al. 2019, "Relational knowledge distillation", arXiv:1904.05068, with cosines.
    """

    def __init__(self, dimension: int, teacher: int, pairs: float) -> None:
        """`dimension` of the embeddings, `teacher`: that of its vectors; a linear layer joins different ones."""
        super().__init__()
        self.pairs = pairs
        self.output = nn.Identity() if dimension == teacher else nn.Linear(dimension, teacher, bias=False)

    def forward(self, x: Any, targets: Any) -> Any:
        """`targets` (N, teacher), of unit length."""
        own = functional.normalize(self.output(x))
        x = functional.normalize(x)
        difference = (x @ x.T - targets @ targets.T).square().mean()
        return (1 - (own * targets).sum(1)).mean() + self.pairs * difference
