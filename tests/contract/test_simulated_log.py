"""The contract, kept by the simulated log: in virtual time (see ``conftest.py``), with nothing going wrong."""

from __future__ import annotations

import asyncio

import pytest
from log_contract import LogContract

from stepwell.log.port import Description
from stepwell.log.simulated.log import SimulatedStorage
from stepwell.testing import VirtualLoop


class TestSimulatedLog(LogContract):
    @pytest.fixture(params=range(3))
    async def storage(self, request):
        assert isinstance(asyncio.get_running_loop(), VirtualLoop)
        return SimulatedStorage(request.param)

    @pytest.fixture
    def description(self):
        return Description("simulated", "simulated:p0")
