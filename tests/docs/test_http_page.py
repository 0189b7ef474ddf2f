"""The requests of docs/http.md, sent to a real server: each is answered as the page says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.server.conftest import served
from tests.workbench import handlers_of, stage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "http.md"
EXCHANGES = re.findall(
    r"^```shell\n(.*?)^```\n```json\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


def fits(shown, found):
    """Whether an answer is as shown: … stands for anything, and an object that lies within may have more keys."""
    if isinstance(shown, dict):
        return isinstance(found, dict) and all(
            key in found and fits(value, found[key]) for key, value in shown.items()
        )
    if isinstance(shown, list):
        return isinstance(found, list) and len(found) == len(shown) and all(map(fits, shown, found))
    return bool(found) if shown == "…" else shown == found


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_every_request_of_the_page_is_answered_as_it_says(log):
    assert len(EXCHANGES) >= 8
    environment = dict(os.environ)
    async with stage(log, handlers_of()) as client, served(client) as http:
        here = f"127.0.0.1:{http.base_url.port}"
        for request, shown in EXCHANGES:
            run = await asyncio.create_subprocess_exec(
                "bash", "-c", request.replace("localhost:8080", here), env=environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await run.communicate()
            assert run.returncode == 0, err.decode()
            answer = json.loads(out)
            assert fits(json.loads(shown), answer), f"{request}\n{answer}"
            assert set(answer) == set(json.loads(shown)), request
            environment["EXECUTION"] = answer.get("execution_id", environment.get("EXECUTION", ""))


def test_the_page_names_every_route_of_the_server():
    from stepwell.server.access import Access
    from stepwell.server.app import create_app

    page = PAGE.read_text(encoding="utf-8")
    for route in create_app(SimpleNamespace(log=None), access=Access()).routes:
        if route.path_format.startswith("/assets/"):
            continue  # of the pages
        if route.path_format.startswith("/v1/work/"):
            assert "http-workers.md" in page
            continue  # a page of its own
        fixed = [part for part in route.path_format.split("/") if not part.startswith("{")]
        assert f"/{fixed[1]}" in page, route.path_format
        assert fixed[-1] in page, route.path_format
        if fixed[1] == "v1" and len(fixed) == 3:
            assert f"/v1/{fixed[2]}" in page, route.path_format


def test_the_page_names_every_metric_and_every_header():
    from stepwell.server.http import freshness, problems
    from stepwell.server.routes import metrics

    page = PAGE.read_text(encoding="utf-8").replace("…_", "_")
    for name in set(re.findall(r'"(stepwell_[a-z_]+)"', Path(metrics.__file__).read_text(encoding="utf-8"))):
        words = name.removeprefix("stepwell_read_models").removeprefix("stepwell_instances")
        assert name in page or words in page, name
    assert freshness.LAG in page
    assert problems.POSITION in page
