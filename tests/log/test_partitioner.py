"""Keys land where Kafka's own clients put them."""

from __future__ import annotations

import pytest

from stepwell.log.partitioner import murmur2, partition_for

# From Kafka's UtilsTest.testMurmur2 (signed there).
VECTORS = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_murmur2_agrees_with_kafka(data, expected):
    assert murmur2(data) == expected & 0xFFFFFFFF


@pytest.mark.parametrize(("data", "expected"), VECTORS)
@pytest.mark.parametrize("partitions", [1, 2, 4, 7, 50])
def test_a_keys_partition_is_its_positive_hash_modulo_the_partitions(data, expected, partitions):
    assert partition_for(data.decode(), partitions) == (expected & 0x7FFFFFFF) % partitions


def test_keys_are_hashed_as_utf_8():
    assert partition_for("käse-🧀", 1000) == (murmur2("käse-🧀".encode()) & 0x7FFFFFFF) % 1000


def test_every_partition_gets_keys():
    assert {partition_for(f"order-{number}", 8) for number in range(200)} == set(range(8))
