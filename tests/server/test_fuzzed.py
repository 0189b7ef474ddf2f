"""Requests drawn from the OpenAPI description: whatever is sent, the answer is one that the description has."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.server.conftest import fine, registered
from tests.workbench import one_step, workflow

HERE = Path(__file__).parent


@pytest.mark.rows("D5")
@pytest.mark.slow
async def test_no_drawn_request_finds_an_answer_that_the_description_has_not(http, rng):
    await registered(http, one_step())
    await registered(http, {**workflow({"id": "ask", "type": "approval_gate"}), "name": "asking"})
    fine(await http.post("/v1/instances?wait=20", json={"workflow": "w", "id": "0"}), 201)
    arguments = [
        "--config-file", HERE / "schemathesis.toml", "run", f"{str(http.base_url).rstrip('/')}/openapi.json",
        "--phases", "coverage,fuzzing", "--max-examples", 25, "--seed", rng.randrange(2**31), "--checks", "all",
        "--request-timeout", 240, "--max-failures", 5, "--workers", 1, "--no-color",
    ]  # fmt: skip
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", *map(str, arguments),
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.server.drawing"}, cwd=HERE.parents[1],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    said = out.decode()
    assert run.returncode == 0, said[-20_000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", said)
    assert counted is not None, said[-2_000:]
    assert "Unresolvable" not in said, said[-4_000:]
    assert int(counted[1]) == int(counted[2]) > 500
