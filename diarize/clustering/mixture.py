"""Number of speakers and labels of windows, from learned covariances of an embedder (docs/method/clustering.md).

A Bayesian mixture of Gaussians in which speakers that the evidence does not pay for vanish: VBx (F. Landini et al.
2022, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization", arXiv:2012.14952) without its chain
over time. In its place each window hears its neighbours, and the windows that a segmentation model gives to the same
local speaker. Equation numbers are of that paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import similarity
from diarize.types import Labels

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # a tenth of a second to load, where nobody may need it

Floats = NDArray[np.float32]

_ALL = slice(None)

SHIPPED = Path(__file__).with_name("ge2e.windows.npz")
_EVIDENCE = 0.1  # Fa: what a window counts for; windows overlap, and a voice drifts within a recording
_PRICE = 0.4  # Fb: what a speaker costs
_CHEAPER = 0.7  # of the price, again and again, where more speakers are asked for than found
_TRIES = 12  # of these
_ENOUGH = 200  # windows; of n more than that, each counts for less: evidence grows with sqrt(n)
_LONG = 1000  # windows from which on none counts for still less: it would be too little to tell anybody apart
_TRACK = 0.5  # weight of the other windows of the same local speakers
_BESIDE = 0.25  # weight of each neighbour in time where tracks are known
_GAIN = 2.0  # of the log-likelihoods, which so become smoother
_BESIDE_ALONE, _GAIN_ALONE = 0.4, 1.75  # the same where no tracks are
_SURE = 5.0  # log odds of the clusters that it starts from
_ROUNDS = 40
_SETTLED = 1e-3  # largest change of any window's probabilities at which it ends
_GONE = 1e-3  # windows under which a speaker has vanished
_TOLD = 0.3  # what a window counts for where whole clusters are compared
_MOST_TOLD = 8.0  # what a cluster's windows count for at most: a voice is not the same in all of a recording
_ONE_VOICE = 3.0  # log-likelihood ratio over which two clusters are one speaker's


@dataclass(frozen=True, eq=False)
class Voices:
    """What is known of an embedder's windows of one length: two covariances, made diagonal.

    Of correlations x (`likeness.centre`), `(x - mean) @ projection` has covariance 1 within a speaker and `spread` (m,)
    between speakers.
    """

    mean: NDArray[np.float64]  # (d,)
    projection: NDArray[np.float64]  # (d, m)
    spread: NDArray[np.float64]  # (m,)

    def project(self, centred: NDArray[np.float64]) -> Floats:
        """rho (n, m): scaled so that its product with a speaker's posterior mean is a log-likelihood. (16)"""
        scaled = self.projection * np.sqrt(self.spread)
        return np.asarray(centred @ scaled - self.mean @ scaled, dtype=np.float32)


def known(model: str) -> Voices | None:
    """What is known of the windows of the embedder with this identity; None for a stranger."""
    voices, of = _shipped()
    return voices if model.startswith(of) else None


@cache
def _shipped() -> tuple[Voices, str]:
    with np.load(SHIPPED, allow_pickle=False) as data:
        mean, projection, spread = (data[key].astype(np.float64) for key in ("mean", "projection", "spread"))
        return Voices(mean, projection, spread), str(data["model"])


def labels(
    centred: NDArray[np.float64],
    voices: Voices,
    starts: Sequence[Labels],
    tracks: csr_matrix | None,
    fewest: int,
    most: int,
) -> Labels | None:
    """Labels (n,), between `fewest` and `most` of them; None where so many cannot be found.

    `centred` (n, d) are correlations (`likeness.centre`), in order of time. `starts` are clusters (n,) that it begins
    with; of the mixtures that come of them the one that agrees best with the others is taken. `tracks` (t, n) says how
    much of each window each local speaker fills; None: nobody knows.
    """
    rho = voices.project(centred)
    hear = _Hearing(len(rho), tracks)
    price = _PRICE
    for _ in range(_TRIES):
        found = _agreed([_mixture(rho, voices.spread, start, hear, price) for start in starts])
        if len(np.unique(found)) >= fewest:
            return _fewer(centred, found, most)
        price *= _CHEAPER
    return None


def extended(
    centred: NDArray[np.float64],
    voices: Voices,
    at: NDArray[np.int64],
    labels: Labels,
    tracks: csr_matrix | None,
) -> Labels:
    """Labels (n,) 0..k-1 of all windows `centred` (n, d), from the `labels` of those `at` some places.

    Those keep theirs, so that nobody gets lost; the others go to the likeliest.
    """
    rho = voices.project(centred)
    used, of = np.unique(labels, return_inverse=True)
    share = np.asarray(of[:, None] == np.arange(len(used)), np.float32)
    logs = _scores(rho, voices.spread, share, _evidence(len(at)), _PRICE, at) * _gain(tracks)
    logs += np.log(share.mean(0, dtype=np.float64)).astype(np.float32)
    found = np.asarray(logs.argmax(1), dtype=np.int64)
    found[at] = of
    return found


def joined(centred: NDArray[np.float64], voices: Voices, labels: Labels, fewest: int = 1) -> Labels:
    """Labels (n,) 0..k-1 after clusters that are likelier one speaker's than two speakers' became one, `fewest` left.

    `centred` (n, d) are correlations (`likeness.centre`). The mixture pays a price for a speaker, however alike another
    is; this compares two at a time. The likeliest pair comes first.
    """
    sums = np.zeros((int(labels.max(initial=-1)) + 1, centred.shape[1]))
    for rows in similarity.blocks(len(labels)):
        sums += (labels[rows] == np.arange(len(sums))[:, None]) @ centred[rows]
    sizes = np.bincount(labels).astype(np.float64)
    while (count := len(sums)) > max(fewest, 1):
        ratios = _one_voice((sums / sizes[:, None] - voices.mean) @ voices.projection, sizes, voices.spread)
        if ratios.max() <= _ONE_VOICE:
            break
        b, a = (int(place) for place in np.unravel_index(ratios.argmax(), ratios.shape))
        for of in (sums, sizes):
            of[a] += of[b]
            of[b] = of[-1]
        sums, sizes = sums[:-1], sizes[:-1]
        labels = np.where(labels == b, a, labels)
        labels = np.where(labels == count - 1, b, labels) if b < count - 1 else labels
    return labels


def _one_voice(
    means: NDArray[np.float64], sizes: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-likelihood ratios (k, k), below the diagonal, that two clusters are one speaker's and not two speakers'.

    Of the `means` (k, m) of clusters with `sizes` (k,), by the two-covariance model (N. Brummer, E. de Villiers, "The
    speaker partitioning problem", Odyssey 2010). All speakers of a recording also share an offset, its channel's, which
    varies as much as speakers do and is integrated out over all clusters: without it everybody on a telephone is alike.
    """
    told = (_TOLD * sizes / (1 + _TOLD * sizes / _MOST_TOLD))[:, None]

    def terms(means: NDArray[np.float64], told: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Of each cluster: its log-likelihood without the offset (k, m), and what it says of that: weight, and sum."""
        weight = 1 / (spread + 1 / told)
        return 0.5 * (np.log(weight) - weight * means**2), weight, weight * means

    def offset(weight: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the log-likelihood gains by the offset, of all clusters' `weight` and `total`."""
        return 0.5 * (spread * total**2 / (1 + spread * weight) - np.log1p(spread * weight))

    own, weight, total = terms(means, told)
    whole, summed = weight.sum(0), total.sum(0)
    before = offset(whole, summed)
    ratios = np.full((len(means), len(means)), -np.inf)
    for a in range(1, len(means)):
        apart = 1 / told[a] + 1 / told[:a]  # variance between the two means, were they one speaker's
        both = told[a] + told[:a]
        one, one_weight, one_total = terms((told[a] * means[a] + told[:a] * means[:a]) / both, both)
        one -= 0.5 * (np.log(apart) + (means[a] - means[:a]) ** 2 / apart)
        after = offset(whole - weight[a] - weight[:a] + one_weight, summed - total[a] - total[:a] + one_total)
        ratios[a, :a] = (one - own[a] - own[:a] + after - before).sum(1)
    return ratios


def _gain(tracks: csr_matrix | None) -> np.float32:
    return np.float32(_GAIN_ALONE if tracks is None or not tracks.nnz else _GAIN)


class _Hearing:
    """Scores (n, k) made smoother: each window hears its neighbours, and those of the same local speakers."""

    def __init__(self, n: int, tracks: csr_matrix | None) -> None:
        alone = tracks is None or not tracks.nnz
        self._beside = np.float32(_BESIDE_ALONE if alone else _BESIDE)
        self.gain = _gain(tracks)
        self._total = np.ones((n, 1), np.float32)
        self._total[1:] += self._beside
        self._total[:-1] += self._beside
        self._tracks = None if tracks is None or alone else tracks.astype(np.float32).tocsr()
        if self._tracks is not None:
            self._own = np.asarray(self._tracks.multiply(self._tracks).sum(0), np.float32).reshape(-1, 1)
            met = self._tracks.T @ np.asarray(self._tracks.sum(1), np.float32) - self._own
            self._share = np.where(met > 1e-6, _TRACK / np.maximum(met, 1e-6), 0).astype(np.float32)
            self._total += np.where(met > 1e-6, np.float32(_TRACK), np.float32(0))

    def __call__(self, scores: Floats) -> Floats:
        heard = scores.copy()
        heard[1:] += self._beside * scores[:-1]
        heard[:-1] += self._beside * scores[1:]
        if self._tracks is not None:
            heard += self._share * (self._tracks.T @ (self._tracks @ scores) - self._own * scores)
        return np.asarray(heard * (self.gain / self._total), dtype=np.float32)


def _agreed(found: Sequence[Labels]) -> Labels:
    """The labels that agree best with all (adjusted Rand index), the first of equals."""
    return max(found, key=lambda labels: sum(round(_agreement(labels, other), 9) for other in found))


def _agreement(a: Labels, b: Labels) -> float:
    """Adjusted Rand index of labels (n,), as in `sklearn.metrics.adjusted_rand_score`, which takes a second to load.

    L. Hubert, P. Arabie, "Comparing partitions", Journal of Classification 2, 1985, equation 5; here in ordered pairs
    of windows that both, one, or none of the two put together.
    """
    table = np.zeros((int(a.max(initial=-1)) + 1, int(b.max(initial=-1)) + 1), np.int64)
    np.add.at(table, (a, b), 1)
    n, both = len(a), int((table**2).sum())
    only_a, only_b = (int((table.sum(side) ** 2).sum()) - both for side in (1, 0))
    if only_a == only_b == 0:
        return 1.0
    together, none = both - n, n * n - both - only_a - only_b
    expected = (together + only_a) * (only_a + none) + (together + only_b) * (only_b + none)
    return 2.0 * (together * none - only_a * only_b) / expected


def _mixture(rho: Floats, spread: NDArray[np.float64], start: Labels, hear: _Hearing, price: float) -> Labels:
    """Variational Bayes from the clusters of `start`: the labels that each window is most likely to have by itself."""
    n, evidence = len(rho), _evidence(len(rho))
    odds = np.exp(_SURE * (start[:, None] == np.unique(start)))
    share = np.asarray(odds / odds.sum(1, keepdims=True), np.float32)
    for _ in range(_ROUNDS):
        share = share[:, share.mean(0, dtype=np.float64) * n > _GONE]
        logs = hear(_scores(rho, spread, share, evidence, price))
        logs += np.log(share.mean(0, dtype=np.float64)).astype(np.float32)
        likely = np.exp(logs - logs.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        settled = float(np.abs(likely - share).max()) < _SETTLED
        share = likely
        if settled:
            break
    used = np.unique(share.argmax(1))
    logs = _scores(rho, spread, share, evidence, price)[:, used] * hear.gain
    logs += np.log(share[:, used].mean(0, dtype=np.float64)).astype(np.float32)
    return np.asarray(logs.argmax(1), dtype=np.int64)


def _evidence(n: int) -> float:
    """What each of n windows counts for."""
    return float(_EVIDENCE * min(1.0, (_ENOUGH / min(n, _LONG)) ** 0.5))


def _scores(
    rho: Floats,
    spread: NDArray[np.float64],
    share: Floats,
    evidence: float,
    price: float,
    at: NDArray[np.int64] | slice = _ALL,
) -> Floats:
    """Expected log-likelihoods (n, k), but for what is the same for all speakers. (16), (17), (23)

    `share` (m, k): whose the windows `at` some places are.
    """
    ratio = evidence / price
    inverse = 1 / (1 + ratio * share.sum(0, dtype=np.float64)[:, None] * spread)
    means = ratio * inverse * (share.T @ rho[at])
    constant = -0.5 * (inverse + means**2) @ spread
    return np.asarray(evidence * (rho @ means.T.astype(np.float32) + constant.astype(np.float32)), dtype=np.float32)


def _fewer(centred: NDArray[np.float64], found: Labels, most: int) -> Labels:
    """The likest clusters become one until no more than `most` are left."""
    _, found = np.unique(found, return_inverse=True)
    if found.max(initial=0) < most:
        return found
    while (count := int(found.max()) + 1) > most:
        alike = similarity.ratios(centred, found)
        np.fill_diagonal(alike, -np.inf)
        a, b = sorted(int(place) for place in np.unravel_index(alike.argmax(), (count, count)))
        found = np.where(found == b, a, found)
        found = np.where(found > b, found - 1, found)
    return found
