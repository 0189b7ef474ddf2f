"""Failed assertions of the contract are explained as those of test files are; the simulated log runs in its own time."""

import asyncio

import pytest

from stepwell.testing import VirtualLoop

pytest.register_assert_rewrite(
    "contract_tools", "record_contract", "queue_contract", "group_contract", "log_contract"
)


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item):
    if item.path.name == "test_simulated_log.py":
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
