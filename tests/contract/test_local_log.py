"""The contract, kept by the local file log."""

from __future__ import annotations

from pathlib import Path

import pytest
from log_contract import LogContract

from stepwell.log.local.log import LocalLog
from stepwell.log.port import Description, Log
from tests.patience import HANG


class LocalStorage:
    patience = HANG
    settles_at_once = True
    counts_the_first_death = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: list[LocalLog] = []

    async def open(self) -> LocalLog:
        log = await LocalLog.open(self.path)
        self._opened.append(log)
        return log

    async def crash(self, log: Log) -> None:
        assert isinstance(log, LocalLog)
        await log._shut(tidy=False)

    async def close(self) -> None:
        for log in self._opened:
            await log.close()


class TestLocalLog(LogContract):
    @pytest.fixture
    async def storage(self, tmp_path):
        return LocalStorage(tmp_path / "log.db")

    @pytest.fixture
    def description(self, storage):
        return Description("file", str(storage.path), storage.path, finds_keys=True)
