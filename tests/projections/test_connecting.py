from __future__ import annotations

import threading

import pytest

from stepwell.errors import ReadModelsDamagedError
from stepwell.projections.connections import connect
from tests.workbench import until


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_file_that_cannot_be_opened_leaves_no_thread_that_keeps_the_process(tmp_path, read_only):
    path = tmp_path / "1.db"
    path.write_bytes(b"no SQLite file, but long enough to be taken for one" * 100)
    before = set(threading.enumerate())
    with pytest.raises(ReadModelsDamagedError) as caught:
        await connect(path, read_only=read_only)
    assert caught.value  # which holds what was on the way, as a reader that keeps its problem does
    await until(lambda: not set(threading.enumerate()) - before)
