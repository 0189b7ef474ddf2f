"""The short form of the fuzz run; the longer one is ``python -m tests.hostile``."""

import os
import random

import pytest

from tests.hostile.fuzz import KINDS, run

EXAMPLES = 300


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_drawn_has_an_answer_or_a_clear_error(kind):
    number = int(os.environ.get("STEPWELL_SEED") or random.randrange(2**32))
    good, _ = run(kind, EXAMPLES, number)
    assert good > EXAMPLES // 50, "hardly anything was well-formed: the run looks at the first mistake only"
