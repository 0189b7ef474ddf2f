"""The queue of steps that may not start yet: a persistent heap."""

from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.fold.heap import EMPTY, Heap
from tests.core.model import examples

batches = st.lists(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc")), max_size=8), max_size=8)


@examples(100)
@given(batches, st.data())
def test_it_gives_the_items_in_order_and_leaves_its_earlier_versions_as_they_were(pushes, data):
    heap, held = EMPTY, []
    versions = [(heap, [])]
    for items in pushes:
        heap, held = heap.push(items), sorted([*held, *items])
        for _ in range(data.draw(st.integers(0, 3))):
            assert heap.top == (held[0] if held else None)
            heap, held = heap.pop(), held[1:]
        versions.append((heap, held))
    for version, expected in versions:
        assert list(version) == expected
        assert bool(version) == bool(expected)
        assert version == Heap(expected)
        assert hash(version) == hash(Heap(expected))
        popped = []
        while version:
            popped.append(version.top)
            version = version.pop()  # noqa: PLW2901 - the others are still there
        assert popped == expected


def test_an_empty_one_pops_to_itself():
    assert EMPTY.pop() is EMPTY
    assert EMPTY.top is None
    assert repr(Heap([(2, "b"), (1, "a")])) == "Heap([(1, 'a'), (2, 'b')])"


def test_popping_from_a_wide_run_does_not_build_a_deep_one():
    heap = Heap((number, "s") for number in range(100_000))
    for _ in range(1_000):
        heap = heap.pop()
    assert heap.top == (1_000, "s")
