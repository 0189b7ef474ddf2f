"""The analysis, against counting by hand."""

import random
from itertools import combinations, product
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from examples.parallel.handlers import analyse, describe, paired_p, two_sample_p

DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def by_hand_two_samples(first, second):
    values = [round(v * 10) for v in [*first, *second]]
    n, total = len(first), sum(values)

    def distance(chosen):
        return abs(len(values) * sum(chosen) - n * total)

    seen = distance(values[:n])
    ways = [distance([values[i] for i in chosen]) >= seen for chosen in combinations(range(len(values)), n)]
    return sum(ways) / len(ways)


def by_hand_paired(first, second):
    differences = [round((b - a) * 10) for a, b in zip(first, second, strict=True)]
    ways = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(sum(differences))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(ways) / len(ways)


def test_the_shipped_data_are_students_and_give_the_published_means():
    with Path("examples/parallel/workflow.yaml").open() as file:
        first, second = (step["config"]["data"]["values"] for step in yaml.safe_load(file)["steps"][:2])
    assert (first, second) == (DRUG_1, DRUG_2)
    assert (describe(first)["mean"], describe(second)["mean"]) == (0.75, 2.33)  # Student 1908, and R's `sleep`


def test_both_tests_equal_counting_every_way_to_hand_out_the_labels():
    assert two_sample_p(DRUG_1, DRUG_2) == by_hand_two_samples(DRUG_1, DRUG_2)
    assert paired_p(DRUG_1, DRUG_2) == by_hand_paired(DRUG_1, DRUG_2) == 4 / 1024


@pytest.mark.parametrize("seed", range(20))
def test_both_tests_are_exact_on_random_data_with_many_ties(seed):
    draw = random.Random(seed)
    first = [draw.randint(-5, 9) / 10 for _ in range(draw.randint(2, 6))]
    second = [draw.randint(-5, 9) / 10 for _ in range(draw.randint(2, 6))]
    assert two_sample_p(first, second) == by_hand_two_samples(first, second)
    assert paired_p(first, first[::-1]) == by_hand_paired(first, first[::-1])


def test_the_analysis_says_what_it_found():
    data = {"a": {"label": "A", "values": DRUG_1}, "b": {"label": "B", "values": DRUG_2}, "alpha": 0.05}
    found = analyse(data)
    assert found["difference"] == round(fmean(DRUG_2) - fmean(DRUG_1), 4)
    assert found["finding"] == "B minus A: +1.58, p = 0.0039: unlikely to be chance"
    assert "may well be chance" in analyse({**data, "alpha": 0.001})["finding"]


def test_groups_of_different_sizes_are_not_paired():
    data = {"a": {"label": "A", "values": [1, 2, 3]}, "b": {"label": "B", "values": [1, 2]}, "alpha": 0.05}
    assert analyse(data)["p_paired"] is None


@pytest.mark.parametrize("values", [[1.0], list(range(40))])
def test_too_few_or_too_many_values_are_refused(values):
    with pytest.raises(ValueError, match="two values or more"):
        analyse({"a": {"label": "A", "values": values}, "b": {"label": "B", "values": [1, 2]}, "alpha": 0.05})
