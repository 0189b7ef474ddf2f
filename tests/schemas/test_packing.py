"""Values that are larger than a record are packed; what is packed can be no bomb."""

import zlib

import pytest

from stepwell.schemas.records.packing import DEFLATE, ENCODING, MOST_UNPACKED, pack, unpack


@pytest.mark.parametrize("size", [0, 99, 100, 101, 100_000])
def test_what_was_packed_is_unpacked(size):
    value = b"a definition " * (size // 13) + b"." * (size % 13)
    packed, headers = pack(value, 100)
    assert (headers == {}) is (size <= 100)
    assert unpack(packed, headers) == value


@pytest.mark.parametrize(
    ("value", "headers", "told"),
    [
        (b"x", {ENCODING: "zstd"}, "'zstd' is not known"),
        (b"no stream", {ENCODING: DEFLATE}, "cannot be unpacked"),
        (zlib.compress(b"x" * 1000)[:-5], {ENCODING: DEFLATE}, "cut off"),
        (zlib.compress(bytes(MOST_UNPACKED + 1)), {ENCODING: DEFLATE}, "more than 16,777,216 bytes"),
    ],
)
def test_what_is_no_packed_value_is_refused(value, headers, told):
    with pytest.raises(ValueError, match=told):
        unpack(value, headers)
