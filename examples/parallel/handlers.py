"""Where the two branches meet: is the difference between two groups of measurements more than chance?

Both tests are exact permutation tests: no table, no approximation, every possible way to hand out the labels is
counted. (E. J. G. Pitman, Significance tests which may be applied to samples from any populations, 1937.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from math import comb
from statistics import fmean, median, stdev
from typing import Any

Data = dict[str, Any]
MOST = 24  # values together; more ways to hand out labels than one wants to count for an example


def analyse(data: Data) -> Data:
    """Compare two groups.

    Args:
        data: ``a`` and ``b``, each with a ``label`` and its ``values``. Where there are as many of one as of the
            other, the n-th values are taken to come from the same subject.

    Returns:
        A description of each group, the difference of their means, and how likely one at least as large would be
        if the labels meant nothing.
    """
    a, b = data["a"], data["b"]
    first, second = a["values"], b["values"]
    if min(len(first), len(second)) < 2 or len(first) + len(second) > MOST:
        raise ValueError(f"each group needs two values or more, and both together at most {MOST}")
    difference = fmean(second) - fmean(first)
    result = {
        "groups": {a["label"]: describe(first), b["label"]: describe(second)},
        "difference": round(difference, 4),
        "p_two_groups": two_sample_p(first, second),
        "p_paired": paired_p(first, second) if len(first) == len(second) else None,
    }
    p = result["p_two_groups"] if result["p_paired"] is None else result["p_paired"]
    verdict = "unlikely to be chance" if p < data["alpha"] else "may well be chance"
    result["finding"] = f"{b['label']} minus {a['label']}: {difference:+.2f}, p = {p:.4f}: {verdict}"
    return result


def describe(values: Sequence[float]) -> dict[str, float]:
    """Size, mean, median and standard deviation (of a sample, n - 1)."""
    return {
        "n": len(values),
        "mean": round(fmean(values), 4),
        "median": round(median(values), 4),
        "stdev": round(stdev(values), 4),
    }


def two_sample_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the difference of means, over every way to choose who is in the first group.

    Counted without going through all ways: ``ways[k]`` holds how often each sum comes up among choices of k values.
    """
    values, size = _as_integers([*first, *second]), len(first)
    ways: list[Counter[int]] = [Counter({0: 1})] + [Counter() for _ in range(size)]
    for value in values:
        for k in range(size - 1, -1, -1):
            for total, count in ways[k].items():
                ways[k + 1][total + value] += count
    expected, n = sum(values) * size, len(values)  # n times the mean of the sums
    seen = abs(sum(values[:size]) * n - expected)
    extreme = sum(count for total, count in ways[size].items() if abs(total * n - expected) >= seen)
    return extreme / comb(n, size)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the mean difference within pairs, over every way to swap the two of a pair."""
    numbers = _as_integers([*first, *second])
    differences = [b - a for a, b in zip(numbers[: len(first)], numbers[len(first) :], strict=True)]
    ways = Counter({0: 1})
    for difference in differences:
        following: Counter[int] = Counter()
        for total, count in ways.items():
            following[total + difference] += count
            following[total - difference] += count
        ways = following
    seen = abs(sum(differences))
    return sum(count for total, count in ways.items() if abs(total) >= seen) / (1 << len(differences))


def _as_integers(values: Sequence[float]) -> list[int]:
    """Values in units of their last decimal place, so that equal sums are equal and no rounding decides a tie."""
    exact = [Decimal(str(value)) for value in values]
    places = max(-int(value.as_tuple().exponent) for value in exact)
    return [int(value.scaleb(max(places, 0))) for value in exact]
