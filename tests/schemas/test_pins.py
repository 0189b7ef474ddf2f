"""A hash is looked for whole, or by a beginning that is one thing's alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepwell.schemas.records.pins import SHORTEST, ByHash

# Few digits, so that many begin alike.
DIGESTS = st.builds(lambda head, tail: head * SHORTEST + tail, st.sampled_from("0f"), st.text("0af", max_size=4))


@given(st.lists(DIGESTS), DIGESTS)
def test_a_hash_means_itself_and_a_beginning_means_the_one_that_alone_begins_so(digests, asked):
    known = ByHash[int]()
    for number, digest in enumerate(digests):
        known.put(digest, number)
    alike = sorted({digest for digest in digests if digest.startswith(asked)})
    assert known.beginning(asked) == alike
    meant = asked if asked in digests else alike[0] if len(alike) == 1 else None
    assert known.whole(asked) == meant
    newest = None if meant is None else max(number for number, digest in enumerate(digests) if digest == meant)
    assert known.get(asked) == newest
    assert known.beginning(asked[: SHORTEST - 1]) == []
    assert known.whole("") is None
