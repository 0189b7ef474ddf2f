"""Near words for whoever has mistyped one, and what a search costs at the most."""

from __future__ import annotations

from itertools import count, permutations
from pathlib import Path

import stepwell
from stepwell.suggest import MOST, choice, did_you_mean, near_words, suggest


def test_the_nearest_names_come_first_whatever_order_they_are_known_in() -> None:
    for known in permutations(("extract", "extra", "transform", "abstract")):
        assert near_words("extrct", known, most=3) == ["extract", "extra"]
        assert near_words("extrct", known) == ["extract"]


def test_a_name_is_near_from_a_likeness_on() -> None:
    assert near_words("setps", ["steps"], cutoff=0.8) == ["steps"]
    assert near_words("stops", ["steps", "stoats"], cutoff=0.9) == []
    assert near_words("stops", ["stoats", "steps"], most=2) == ["steps", "stoats"]


def test_a_hint_names_the_near_word_and_a_choice_names_all_where_none_is_near() -> None:
    assert suggest("extrct", ["extract", "load"]) == did_you_mean("extract") == ', did you mean "extract"?'
    assert suggest("pay", ["extract", "load"]) == ""
    assert choice("extrct", ["extract", "load"]) == ', did you mean "extract"?'
    assert choice("pay", ["extract", "load"]) == "; there are extract, load"


def test_a_word_that_only_looks_the_same_is_shown_by_its_characters() -> None:
    assert suggest("\uff41sk", ["ask"]) == (
        ", did you mean 'ask'? It looks the same as '\\uff41sk', and is written with other characters"
    )


def test_a_word_longer_than_any_name_has_no_near_one() -> None:
    assert near_words("a" * 200, ["a" * 199]) == ["a" * 199]
    assert near_words("a" * 201, ["a" * 200]) == []


def test_of_many_names_those_are_compared_that_begin_or_end_alike_and_are_about_as_long() -> None:
    many = [f"key-{number:05}" for number in range(MOST * 5)]
    assert near_words("zebar", [*many, "zebra"]) == ["zebra"]
    assert near_words("abbey", [*many, "xabbex"]) == []  # is near, and neither begins nor ends as the word does


def test_names_without_end_are_looked_at_up_to_a_bound() -> None:
    looked_at = count()
    assert near_words("zebra", (f"key-{next(looked_at)}" for _ in count())) == []
    assert next(looked_at) == 100_000


def test_near_words_are_looked_for_in_one_place() -> None:
    package = Path(stepwell.__file__).parent
    texts = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    assert {path for path, text in texts.items() if "get_close_matches" in text} == {"suggest.py"}
    assert {path for path, text in texts.items() if 'did you mean "{' in text} == {"suggest.py"}
