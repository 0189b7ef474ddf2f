"""A definition's canonical bytes, and so its hash."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.schemas.definitions.model import (
    Definition,
    ErrorHandler,
    Retry,
    Step,
    decode_definition,
    encode_definition,
    hash_definition,
)
from tests.core.model import definition, examples

ROOT = Path(__file__).resolve().parents[2]


@examples(60)
@given(st.builds(definition, st.randoms(use_true_random=False)))
def test_reading_back_gives_the_same_definition_bytes_and_hash(graph):
    again = decode_definition(encode_definition(graph))
    assert encode_definition(again) == encode_definition(graph)
    assert hash_definition(again) == hash_definition(graph)
    assert again == graph


def test_the_order_of_keys_is_no_content_and_the_order_of_steps_is():
    a, b = Step("a", handler="h", config={"x": 1, "y": 2}), Step("b", handler="h")
    turned = Step("a", handler="h", config={"y": 2, "x": 1})
    handlers = {"a": ErrorHandler("b"), "b": ErrorHandler("a")}
    one = Definition("w", (a, b), error_handlers=handlers)
    assert hash_definition(one) == hash_definition(
        Definition("w", (turned, b), error_handlers=dict(reversed(handlers.items())))
    )
    assert hash_definition(one) != hash_definition(Definition("w", (b, a), error_handlers=handlers))


def test_seconds_may_be_whole_numbers():
    whole, floats = (
        Definition("w", (Step("a", handler="h", timeout_seconds=kind(30), retry=Retry(multiplier=kind(2))),))
        for kind in (int, float)
    )
    assert encode_definition(whole) == encode_definition(floats)


def test_defaults_may_be_written_or_left_out():
    assert hash_definition(Definition("w", (Step("a", handler="h", config={}, queue="default"),))) == (
        hash_definition(Definition("w", (Step("a", handler="h"),)))
    )


@pytest.mark.parametrize("seed", ["0", "7"])
def test_the_hash_is_the_same_in_every_process(seed):
    source = (
        "import random; from tests.core.model import definition; from stepwell.schemas.definitions.model import *;"
        "print([hash_definition(definition(random.Random(n))) for n in range(20)])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    import random

    expected = [hash_definition(definition(random.Random(number))) for number in range(20)]
    assert ran.stdout.strip() == str(expected)
