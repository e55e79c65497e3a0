"""Is B better than A, and how sure is that: on two levels that are never mixed, each result naming its own.

Users within a pair of checkpoints: the same users ranked by both. It says whether these two checkpoints differ on
users like these, and nothing about training again. Seeds: the difference of two methods, one number a seed. It says
whether the methods differ, and with few seeds its smallest possible p-value is large (.25 for three): it is reported.

Differences are B - A. The bootstrap redraws users (a multinomial over the distinct differences, which is the same and
cheaper); the sign-flip test is of differences symmetric about 0. Methods whose runs share no seed have nothing to pair
on the level of seeds: Welch's unequal-variances t is what is left, and is named so.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr, stdtrit

from samrec.errors import ConfigError, ProtocolMismatch
from samrec.evaluation.metrics import averaged_by_owner, metric_name, per_user
from samrec.evaluation.protocol import refuse_other_protocol

USERS_LEVEL = "users within this pair of checkpoints"
SEEDS_LEVEL = "seeds"
WELCH_LEVEL = "seeds, unpaired (Welch)"
_EXACT_UP_TO = 20  # differences other than 0: 2^20 sign patterns take 8 MiB and a few milliseconds
_DRAWS = 10_000  # sign patterns where they are too many to count
_BLOCK = 1 << 22  # numbers drawn at once, 32 MiB


@runtime_checkable
class Ranked(Protocol):
    """What a comparison needs of an evaluation."""

    @property
    def protocol(self) -> str: ...  # noqa: D102
    @property
    def users(self) -> np.ndarray: ...  # noqa: D102
    @property
    def ranks(self) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class PairedUsers:
    """Two checkpoints compared user by user on one metric."""

    metric: str
    a: float  # the metric of A
    b: float  # the metric of B
    difference: float  # b - a
    low: float  # of the bootstrap percentile interval
    high: float
    confidence: float
    p_value: float  # two-sided sign-flip test
    users: int
    draws: int
    exact: bool  # whether every sign pattern was counted rather than `draws` random ones
    level: str = USERS_LEVEL


@dataclass(frozen=True, slots=True)
class PairedSeeds:
    """Two methods compared seed by seed on one metric."""

    mean: float  # of b - a
    low: float  # of Student's t interval; NaN for one seed
    high: float
    confidence: float
    p_value: float  # two-sided sign-flip test, exact up to 20 differences other than 0
    smallest_p: float  # no differences of this many seeds could give a smaller one
    seeds: int
    level: str = SEEDS_LEVEL


@dataclass(frozen=True, slots=True)
class UnpairedSeeds:
    """Two methods without a common seed, compared over the runs of each."""

    mean: float  # of b, minus the mean of a
    low: float  # of Welch's interval; NaN where a method has one run or none of them varies
    high: float
    confidence: float
    p_value: float  # two-sided; NaN as above
    seeds: int  # of both methods together
    level: str = WELCH_LEVEL


def paired_users(
    a: Ranked, b: Ranked, metric: str = "NDCG@10", *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> PairedUsers:
    """Compare two evaluations of the same users under the same protocol. Their seeds of training may differ.

    Args:
        a: the evaluation that is subtracted.
        b: the other one.
        metric: such as "NDCG@10".
        confidence: of the bootstrap interval.
        draws: resamples of the interval, and sign patterns of the test where they are too many to count.
        seed: of both.

    Raises:
        ProtocolMismatch: data, split, seen-item rule, tie rule, candidates or users differ.
    """
    if a.protocol != b.protocol:
        refuse_other_protocol(getattr(a, "conditions", {}), getattr(b, "conditions", {}))
        raise ProtocolMismatch(
            f"expected results of one protocol (data, split, seen items, ties, candidates), got {a.protocol[:12]} "
            f"and {b.protocol[:12]}"
        )
    if not np.array_equal(a.users, b.users):
        raise ProtocolMismatch(f"expected the same users in both, got {len(a.users):,} and {len(b.users):,} others")
    of_a, of_b = (averaged_by_owner(per_user(result.ranks, metric), result.users) for result in (a, b))
    differences = of_b - of_a
    low, high = bootstrap_interval(differences, confidence=confidence, draws=draws, seed=seed)
    p_value, exact = sign_flip_p(differences, draws=draws, seed=seed)
    return PairedUsers(
        metric=metric_name(metric),
        a=float(of_a.mean()),
        b=float(of_b.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        confidence=confidence,
        p_value=p_value,
        users=len(differences),
        draws=draws,
        exact=exact,
    )


def paired_seeds(differences: Float[np.ndarray, " seeds"], *, confidence: float = 0.95) -> PairedSeeds:
    """Compare two methods by their differences b - a, one a seed.

    The p-value is exact up to 20 seeds and drawn beyond, see `sign_flip_p`.
    """
    values = _finite(differences)
    _check_level(confidence)
    seeds = len(values)
    mean = float(values.mean())
    half = float("nan")
    if seeds > 1:
        half = float(stdtrit(seeds - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(seeds))
    p_value, is_exact = sign_flip_p(values)
    return PairedSeeds(
        mean=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        p_value=p_value,
        smallest_p=2.0 ** (1 - seeds) if is_exact else 1 / (1 + _DRAWS),
        seeds=seeds,
    )


def unpaired_seeds(
    a: Float[np.ndarray, " runs_a"], b: Float[np.ndarray, " runs_b"], *, confidence: float = 0.95
) -> UnpairedSeeds:
    """Compare two methods by the values of their runs, where no run of one has the seed of a run of the other.

    Args:
        a: a number for each run of the method that is subtracted.
        b: the other method's.
        confidence: of Welch's interval.

    Source: Welch 1947, degrees of freedom by Satterthwaite 1946.
    """
    of_a, of_b = _finite(a), _finite(b)
    _check_level(confidence)
    difference = float(of_b.mean() - of_a.mean())
    half = p_value = float("nan")
    if min(len(of_a), len(of_b)) > 1:
        errors = np.array([values.var(ddof=1) / len(values) for values in (of_a, of_b)])
        if errors.any():
            freedom = errors.sum() ** 2 / (errors[0] ** 2 / (len(of_a) - 1) + errors[1] ** 2 / (len(of_b) - 1))
            spread = float(np.sqrt(errors.sum()))
            half = float(stdtrit(freedom, (1 + confidence) / 2)) * spread
            p_value = float(2 * stdtr(freedom, -abs(difference) / spread))
    return UnpairedSeeds(difference, difference - half, difference + half, confidence, p_value, len(of_a) + len(of_b))


def bootstrap_interval(
    differences: Float[np.ndarray, " users"], *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean over redrawn users. Memory does not grow with users times draws."""
    values = _finite(differences)
    _check_level(confidence, draws)
    random = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    users = len(values)
    means = np.empty(draws)
    few = 8 * len(distinct) <= users  # a binomial draw costs about as much as eight users taken
    width = len(distinct) if few else users
    for start in range(0, draws, max(1, _BLOCK // width)):
        size = min(max(1, _BLOCK // width), draws - start)
        if few:
            total = random.multinomial(users, counts / users, size=size) @ distinct
        else:
            total = values[random.integers(0, users, size=(size, users), dtype=np.int32)].sum(1)
        means[start : start + size] = total / users
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def sign_flip_p(differences: Float[np.ndarray, " users"], *, draws: int = _DRAWS, seed: int = 0) -> tuple[float, bool]:
    """The two-sided p-value of a mean this far from 0 if every sign were a fair coin, and whether it is exact.

    Exact up to 20 differences other than 0; beyond, (1 + at least as far) / (1 + draws), which is never 0.
    """
    values = _finite(differences)
    _check_level(0.5, draws)
    moved = values[values != 0]
    if len(moved) <= _EXACT_UP_TO:
        return _exact_p(moved), True
    random = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(moved), return_counts=True)
    bar = _bar(moved)
    as_far = 0
    few = 8 * len(sizes) <= len(moved)
    width = len(sizes) if few else len(moved)
    for start in range(0, draws, max(1, _BLOCK // width)):
        size = min(max(1, _BLOCK // width), draws - start)
        if few:
            sums = (2 * random.binomial(counts, 0.5, size=(size, width)) - counts) @ sizes
        else:
            coins = np.unpackbits(random.integers(0, 256, size=(size, (width + 7) // 8), dtype=np.uint8), axis=1)
            sums = 2 * (coins[:, :width].astype(np.float64) @ moved) - moved.sum()
        as_far += int(np.count_nonzero(np.abs(sums) >= bar))
    return (1 + as_far) / (1 + draws), False


def _exact_p(values: np.ndarray) -> float:
    """Share of all 2^k sign patterns whose sum is at least as far from 0."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(np.abs(sums) >= _bar(values)))


def _bar(values: np.ndarray) -> float:
    """|sum|, less what rounding may take from an equal one."""
    return float(abs(values.sum()) - 1e-12 * np.abs(values).sum())


def _finite(differences: np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ConfigError(f"expected differences in one dimension, at least one, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ConfigError("expected finite differences, got NaN or infinity")
    return values


def _check_level(confidence: float, draws: int = 1) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"expected a confidence between 0 and 1, got {confidence}")
    if draws < 1:
        raise ConfigError(f"expected at least 1 draw, got {draws}")
