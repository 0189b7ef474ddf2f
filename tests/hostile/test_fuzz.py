"""The short form of the fuzz run; the longer one is ``python -m tests.hostile``, as CI runs it."""

import os
import random

import pytest

from tests.hostile.fuzz import KINDS, run

EXAMPLES = 300
FEW = 100  # of the kinds that are made to cost much; CI draws 150 more of each
COSTLY = ("flows", "branching", "rules")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_drawn_has_an_answer_or_a_clear_error(kind):
    number = int(os.environ.get("STEPWELL_SEED") or random.randrange(2**32))
    examples = FEW if kind in COSTLY else EXAMPLES
    good, _ = run(kind, examples, number)
    assert good > examples // 50, "hardly anything was well-formed: the run looks at the first mistake only"
