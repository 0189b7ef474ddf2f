"""Partitions are shared out evenly, completely, and with as few moves as that allows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stepwell.log.sharing import share_out


@given(
    partitions=st.integers(1, 40),
    members=st.lists(st.integers(1, 60), unique=True, max_size=50),
    current=st.dictionaries(st.integers(0, 45), st.integers(1, 60), max_size=40),
)
def test_shares_are_even_complete_and_kept(partitions, members, current):
    members.sort()
    shares = share_out(partitions, members, current)
    if not members:
        assert shares == {}
        return
    assert sorted(shares) == list(range(partitions))
    counts = Counter(dict.fromkeys(members, 0)) + Counter(shares.values())
    least, extra = divmod(partitions, len(members))
    assert set(counts) <= set(members)
    assert sorted(shares.values().__iter__()) == sorted(shares.values())
    sizes = sorted((list(shares.values()).count(member) for member in members), reverse=True)
    assert sizes == [least + 1] * extra + [least] * (len(members) - extra)
    # No assignment of these sizes keeps more where it is.
    held = sorted(
        (sum(owner == member for number, owner in current.items() if number < partitions) for member in members),
        reverse=True,
    )
    most_kept = sum(min(have, size) for have, size in zip(held, sizes, strict=True))
    assert sum(current.get(number) == member for number, member in shares.items()) == most_kept
    assert share_out(partitions, members, shares) == shares
