"""docs/http-workers.md: its requests, as they are written there, against a real server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stepwell.consumers.worker.remote.lending import ClaimedStep, LeaseState
from tests.patience import HANG
from tests.server.conftest import served
from tests.workbench import stage

pytestmark = [
    pytest.mark.rows("B8"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH"),
]

PAGE = (Path(__file__).resolve().parents[2] / "docs/http-workers.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def curl(verb, url, claim=""):
    (line,) = [block for block in blocks("bash") if f"/{verb}" in block]
    command = ["bash", "-c", line]
    done = subprocess.run(
        command, env={"STEPWELL_URL": url, "CLAIM": claim}, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


async def test_the_requests_of_the_page_are_answered_as_it_says(log):
    import asyncio

    (definition,) = blocks("yaml")
    async with stage(log, None, definition) as client, served(client) as http:

        async def said(verb, claim=""):
            return await asyncio.to_thread(curl, verb, str(http.base_url).rstrip("/"), claim)

        async def claimed():
            (step,) = (await said("claim"))["steps"]
            return step

        run = await client.start("invoices", {"number": 7}, id="invoice-7")
        assert await said("release", (await claimed())["claim"]) is None
        step = await claimed()
        shown = [json.loads(block) for block in blocks("json")]
        assert shown[0]["steps"][0].keys() == step.keys() == set(ClaimedStep.__struct_fields__)
        for key in ("instance_id", "handler", "input", "timeout_seconds", "idempotency_key", "lease_seconds"):
            assert step[key] == shown[0]["steps"][0][key]
        state = await said("heartbeat", step["claim"])
        assert shown[1].keys() == state.keys() == set(LeaseState.__struct_fields__)
        assert (await said("complete", step["claim"]))["outcome"] == "completed"
        assert (await run.result(timeout=HANG)).output == {"render": {"pages": 4}}
        other = await client.start("invoices", {"number": 8})
        assert (await said("fail", (await claimed())["claim"]))["error"]["retry_after"] == 60
        await other.cancel()
        assert (await said("heartbeat", "nonsense"))["status"] == 404


def test_every_error_code_of_the_page_is_one_and_every_one_is_there():
    from typing import get_args

    from stepwell.consumers.worker.remote.claims import Ending

    (row,) = [line for line in PAGE.splitlines() if line.startswith("| 409")]
    assert set(re.findall(r"`(\w+)`", row)) - {"code"} == set(get_args(Ending))
