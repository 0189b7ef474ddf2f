"""The requests of docs/http.md, sent to a real server: each is answered as the page says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

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
    for route in create_app(object(), access=Access()).routes:
        if route.path_format.startswith("/assets/"):
            continue  # of the pages
        verb = re.sub(r"/\{[^}]*\}", "", route.path_format).rsplit("/", 1)[-1]
        assert verb in page, route.path_format
