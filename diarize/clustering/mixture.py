"""How many speakers, and who speaks in each window: a Bayesian mixture over windows (docs/method/clustering.md).

For embedders whose covariances within and between speakers are known. It is VBx (F. Landini, J. Profant, M. Diez,
L. Burget, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization", Computer Speech & Language 71,
2022, arXiv:2012.14952) without its Markov chain: the loop probability is 0, and log-likelihoods are averaged over
neighbouring windows and over windows of one local speaker instead. Symbols and equation numbers are of that paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize import progress, timeline
from diarize.clustering import similarity
from diarize.types import Labels, Segment

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # importing it takes a tenth of a second, and few callers need it

Floats = NDArray[np.float32]

_ALL = slice(None)

PLDA_FILES = ("community-1.windows.npz", "ge2e.windows.npz")  # beside this file, one an embedder
_WINDOW_SECONDS = 0.8  # s of speech that a window of weight 1 adds
_FB = 0.4  # F_B, the cost of a speaker
_FB_STEP = 0.7  # factor of F_B, applied again while there are fewer speakers than asked for
_FB_STEPS = 12  # most values of F_B that are tried
_FULL_FA = 200  # weight of all windows; if they have n times more, F_A shrinks by sqrt(n)
_SMALLEST_FA = 1000  # weight from which F_A shrinks no more: it would be too little to separate any speakers
_SAME_LOCAL = 0.5  # weight of the other windows of the same local speakers
_NEIGHBOUR = 0.25  # weight of each neighbour in time where local speakers are known
_SCALE = 2.0  # factor of the averaged log-likelihoods, which are smoother than those of single windows
_NEIGHBOUR_ALONE, _SCALE_ALONE = 0.4, 1.75  # the same where no local speakers are known
_START_LOG_ODDS = 5.0  # log odds of the initial clusters in the first gamma
_ITERATIONS = 40
_CONVERGED = 1e-3  # largest change of any gamma at which the iteration ends
_EMPTY = 1e-3  # windows below which a speaker is removed
_WINDOW_WEIGHT = 0.3  # weight of a window where whole clusters are compared
_CLUSTER_WEIGHT = 8.0  # limit of the weight of a cluster's windows: a voice changes over a recording
_SAME_SPEAKER = 3.0  # log-likelihood ratio above which two clusters are one speaker


@dataclass(frozen=True, eq=False)
class Plda:
    """Covariances of an embedder's windows of one length, within and between speakers, both made diagonal.

    For correlations x (`similarity.centre`), `(x - mean) @ projection` has covariance 1 within a speaker and `phi` (m,)
    between speakers: the two-covariance form of PLDA.
    """

    mean: NDArray[np.float64]  # (d,)
    projection: NDArray[np.float64]  # (d, m)
    phi: NDArray[np.float64]  # (m,)
    alike: float  # correlation of two local speakers above which they may be one person
    fa: float  # F_A of a window of weight 1: less than 1, as windows overlap and a voice drifts within a recording

    def rho(self, centred: NDArray[np.float64]) -> Floats:
        """rho (n, m) of correlations (n, d): its product with a speaker's alpha is a log-likelihood."""
        projection_v = self.projection * np.sqrt(self.phi)  # V = sqrt(phi), between (5) and (6)
        return np.asarray(centred @ projection_v - self.mean @ projection_v, dtype=np.float32)  # (18)


def plda_of(embedder: str) -> Plda | None:
    """Covariances of the windows of the embedder with this identity; None where they are not known."""
    pldas = (_load(file) for file in PLDA_FILES)
    return next((plda for plda, known_embedder in pldas if embedder.startswith(known_embedder)), None)


@cache
def _load(file: str) -> tuple[Plda, str]:
    with np.load(Path(__file__).with_name(file), allow_pickle=False) as data:
        mean, projection, phi = (data[key].astype(np.float64) for key in ("mean", "projection", "spread"))
        return Plda(mean, projection, phi, float(data["alike"]), float(data["fa"])), str(data["model"])


def weights_of(windows: Sequence[Segment]) -> NDArray[np.float64]:
    """(n,) shares of windows in the evidence: 1 for one that adds 0.8 s of speech, whatever their length and hop."""
    return timeline.shares(windows) / _WINDOW_SECONDS


def cluster(
    centred: NDArray[np.float64],
    plda: Plda,
    starts: Sequence[Labels],
    weights: NDArray[np.float64],
    occupancy: csr_matrix | None,
    fewest: int,
    most: int,
) -> Labels | None:
    """Labels (n,), between `fewest` and `most` different ones; None where fewer than `fewest` result.

    `centred` (n, d) are correlations (`similarity.centre`), in order of time. `starts` are initial clusters (n,); of
    the results, one a start, the one that agrees best with the others is returned. `weights` (n,) are the windows'
    shares in the evidence, 1 for one that adds 0.8 s of speech. `occupancy` (t, n) is the share of
    each window that each local speaker fills; None where there is no segmentation.
    """
    rho = plda.rho(centred)
    smoother = _Smoother(len(rho), occupancy)
    fa, fb = _fa(plda, weights), _FB
    for _ in range(_FB_STEPS):
        results = (_variational_bayes(rho, plda.phi, start, smoother, fa, fb) for start in starts)
        labels = _consensus(list(progress.reported(results, range(1, len(starts) + 1))))
        if len(np.unique(labels)) >= fewest:
            return _merge_to(centred, labels, most)
        fb *= _FB_STEP
    return None


def propagate(
    centred: NDArray[np.float64],
    plda: Plda,
    sample: NDArray[np.int64],
    labels: Labels,
    weights: NDArray[np.float64],
    occupancy: csr_matrix | None,
) -> Labels:
    """Labels (n,) 0..k-1 of all windows `centred` (n, d), from the `labels` (m,) of the windows `sample` (m,).

    `weights` (n,) of all windows, as in `cluster`. The sample keeps its labels, so that no speaker disappears; each
    other window gets its most likely speaker.
    """
    used, sample_labels = np.unique(labels, return_inverse=True)
    gamma = np.asarray(sample_labels[:, None] == np.arange(len(used)), np.float32)
    fa = _fa(plda, weights, sample)
    log_p = _log_likelihoods(plda.rho(centred), plda.phi, gamma, fa, _FB, sample) * _scale(occupancy)
    log_p += np.log(gamma.mean(0, dtype=np.float64)).astype(np.float32)
    extended = np.asarray(log_p.argmax(1), dtype=np.int64)
    extended[sample] = sample_labels
    return extended


def merge_same_speaker(
    centred: NDArray[np.float64], plda: Plda, labels: Labels, weights: NDArray[np.float64], fewest: int = 1
) -> Labels:
    """Labels (n,) 0..k-1 after clusters that are more likely one speaker than two are merged, `fewest` left.

    `centred` (n, d) are correlations (`similarity.centre`), `weights` (n,) as in `cluster`. The mixture weighs a
    speaker against a cost, however similar another speaker is; this compares two clusters at a time. The most likely
    pair comes first.
    """
    sums = np.zeros((int(labels.max(initial=-1)) + 1, centred.shape[1]))
    for rows in similarity.blocks(len(labels)):
        sums += ((labels[rows] == np.arange(len(sums))[:, None]) * weights[rows]) @ centred[rows]
    sizes = np.bincount(labels, weights)

    def choose(merged: Labels) -> tuple[int, int] | None:
        """Of the clusters before, in the order of their labels, that are `merged` into fewer."""
        member = np.asarray(merged == np.arange(merged.max() + 1)[:, None], np.float64)
        means = (member @ sums) / (member @ sizes)[:, None]
        ratios = _same_speaker_ratios((means - plda.mean) @ plda.projection, member @ sizes, plda.phi)
        return similarity.largest(ratios) if ratios.max() > _SAME_SPEAKER else None

    return similarity.merge_pairs(np.arange(len(sums)), choose, fewest)[labels]


def _same_speaker_ratios(
    means: NDArray[np.float64], sizes: NDArray[np.float64], phi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-likelihood ratios (k, k), below the diagonal: two clusters are one speaker rather than two.

    `means` (k, m) of clusters of `sizes` (k,), the weights of their windows, by the two-covariance model (N. Brummer,
    E. de Villiers, "The speaker partitioning problem", Odyssey 2010). All speakers of a recording also share an offset,
    that of its channel, which varies as much as speakers do and is integrated out over all clusters: without it all
    speakers on a telephone seem to be one.
    """
    weights = (_WINDOW_WEIGHT * sizes / (1 + _WINDOW_WEIGHT * sizes / _CLUSTER_WEIGHT))[:, None]

    def terms(means: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Log-likelihoods (k, m) at offset 0; what each cluster adds to the offset's precision and weighted mean."""
        precision = 1 / (phi + 1 / weights)
        return 0.5 * (np.log(precision) - precision * means**2), precision, precision * means

    def offset_gain(precision: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the offset adds to the log-likelihood when it is integrated out, from sums over all clusters."""
        return 0.5 * (phi * total**2 / (1 + phi * precision) - np.log1p(phi * precision))

    two, precision, total = terms(means, weights)
    all_precision, all_total = precision.sum(0), total.sum(0)
    before = offset_gain(all_precision, all_total)
    ratios = np.full((len(means), len(means)), -np.inf)
    for a in range(1, len(means)):
        variance = 1 / weights[a] + 1 / weights[:a]  # of the difference of the two means if they are one speaker's
        both = weights[a] + weights[:a]
        one, one_precision, one_total = terms((weights[a] * means[a] + weights[:a] * means[:a]) / both, both)
        one -= 0.5 * (np.log(variance) + (means[a] - means[:a]) ** 2 / variance)
        after = offset_gain(
            all_precision - precision[a] - precision[:a] + one_precision, all_total - total[a] - total[:a] + one_total
        )
        ratios[a, :a] = (one - two[a] - two[:a] + after - before).sum(1)
    return ratios


def _scale(occupancy: csr_matrix | None) -> np.float32:
    return np.float32(_SCALE_ALONE if occupancy is None or not occupancy.nnz else _SCALE)


class _Smoother:
    """Averages log-likelihoods (n, k) of each window with those of its neighbours and of the same local speakers."""

    def __init__(self, n: int, occupancy: csr_matrix | None) -> None:
        alone = occupancy is None or not occupancy.nnz
        self._neighbour = np.float32(_NEIGHBOUR_ALONE if alone else _NEIGHBOUR)
        self.scale = _scale(occupancy)
        self._total = np.ones((n, 1), np.float32)
        self._total[1:] += self._neighbour
        self._total[:-1] += self._neighbour
        self._occupancy = None if occupancy is None or alone else occupancy.astype(np.float32).tocsr()
        if self._occupancy is not None:
            # Co-occurrence of windows is occupancy.T @ occupancy, without a window's own part: never formed, as (n, n).
            self._own = np.asarray(self._occupancy.multiply(self._occupancy).sum(0), np.float32).reshape(-1, 1)
            others = self._occupancy.T @ np.asarray(self._occupancy.sum(1), np.float32) - self._own
            self._share = np.where(others > 1e-6, _SAME_LOCAL / np.maximum(others, 1e-6), 0).astype(np.float32)
            self._total += np.where(others > 1e-6, np.float32(_SAME_LOCAL), np.float32(0))

    def __call__(self, log_p: Floats) -> Floats:
        smooth = log_p.copy()
        smooth[1:] += self._neighbour * log_p[:-1]
        smooth[:-1] += self._neighbour * log_p[1:]
        if self._occupancy is not None:
            smooth += self._share * (self._occupancy.T @ (self._occupancy @ log_p) - self._own * log_p)
        return np.asarray(smooth * (self.scale / self._total), dtype=np.float32)


def _consensus(partitions: Sequence[Labels]) -> Labels:
    """The labels that agree best with all others (adjusted Rand index), the first of equals."""
    return max(partitions, key=lambda a: sum(round(_adjusted_rand_index(a, b), 9) for b in partitions))


def _adjusted_rand_index(a: Labels, b: Labels) -> float:
    """Of labels (n,), as `sklearn.metrics.adjusted_rand_score`, which takes a second to import.

    L. Hubert, P. Arabie, "Comparing partitions", Journal of Classification 2, 1985, equation 5; here in ordered pairs
    of windows that both, one, or none of the two partitions put together.
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


def _variational_bayes(
    rho: Floats, phi: NDArray[np.float64], start: Labels, smoother: _Smoother, fa: Floats, fb: float
) -> Labels:
    """Labels (n,) from the initial clusters `start` (n,): gamma, alpha and pi in turns until gamma converges.

    The labels at the end are each window's own: smoothed ones would cut off short turns.
    """
    n = len(rho)
    odds = np.exp(_START_LOG_ODDS * (start[:, None] == np.unique(start)))
    gamma = np.asarray(odds / odds.sum(1, keepdims=True), np.float32)
    for _ in range(_ITERATIONS):
        gamma = gamma[:, gamma.mean(0, dtype=np.float64) * n > _EMPTY]
        pi = gamma.mean(0, dtype=np.float64)  # (24), with loop probability 0
        log_p = smoother(_log_likelihoods(rho, phi, gamma, fa, fb))
        log_p += np.log(pi).astype(np.float32)
        posterior = np.exp(log_p - log_p.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)  # (19), with loop probability 0
        change = float(np.abs(posterior - gamma).max())
        gamma = posterior
        if change < _CONVERGED:
            break
    used = np.unique(gamma.argmax(1))
    log_p = _log_likelihoods(rho, phi, gamma, fa, fb)[:, used] * smoother.scale
    log_p += np.log(gamma[:, used].mean(0, dtype=np.float64)).astype(np.float32)
    return np.asarray(log_p.argmax(1), dtype=np.int64)


def _fa(plda: Plda, weights: NDArray[np.float64], sample: NDArray[np.int64] | slice = _ALL) -> Floats:
    """F_A (n, 1) of windows of these `weights` (n,), where the evidence is that of the windows `sample`."""
    total = max(1.0, float(weights[sample].sum()))
    shrunk = plda.fa * min(1.0, (_FULL_FA / min(total, _SMALLEST_FA)) ** 0.5)
    return np.asarray(shrunk * weights[:, None], dtype=np.float32)


def _log_likelihoods(
    rho: Floats,
    phi: NDArray[np.float64],
    gamma: Floats,
    fa: Floats,
    fb: float,
    sample: NDArray[np.int64] | slice = _ALL,
) -> Floats:
    """Expected log-likelihoods (n, k) of all windows under each speaker; `gamma` (m, k) is of the windows `sample`.

    `fa` (n, 1): F_A of each window. Equations (16) and (17) sum over windows, so it stands in their sums.

    The last two terms of (23), which depend on the window alone, are left out: gamma does not change with them.
    """
    gamma = gamma * fa[sample]
    inv_l = 1 / (1 + gamma.sum(0, dtype=np.float64)[:, None] / fb * phi)  # (17)
    alpha = inv_l / fb * (gamma.T @ rho[sample])  # (16)
    trace = -0.5 * (inv_l + alpha**2) @ phi
    return np.asarray(fa * (rho @ alpha.T.astype(np.float32) + trace.astype(np.float32)), dtype=np.float32)  # (23)


def _merge_to(centred: NDArray[np.float64], labels: Labels, most: int) -> Labels:
    """Labels (n,) 0..k-1 after the most similar clusters are merged until there are no more than `most`."""
    _, labels = np.unique(labels, return_inverse=True)
    return similarity.merge_pairs(labels, lambda labels: similarity.largest(similarity.ratios(centred, labels)), most)
