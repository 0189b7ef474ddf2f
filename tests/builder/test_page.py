"""The page about workflows in Python: its example is typed, runs as it says, and is refused as it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/builder.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.rows("R2")]


@pytest.fixture
def at_work(tmp_path):
    """Runs a module of Python in a directory with the page's example."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("STEPWELL")}
    (tmp_path / "orders.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])

    def run(*words, status=0):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, text=True, capture_output=True, timeout=HANG,
            env=env | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    run.directory = tmp_path
    return run


def test_the_example_runs_asks_and_skips_as_it_is_written(at_work):
    def outcome(status=0, **data):
        return json.loads(
            at_work("stepwell", "run", "orders.py", "--json", "--input", json.dumps(data), status=status).stdout
        )

    small = outcome(id=1, total=20, gift=True)
    assert small["output"] == "1 is on its way, r-1"
    assert small["steps"]["write_card"]["output"] == "card for 1: with our best wishes"
    assert small["steps"]["approval_gate"]["status"] == "skipped"
    large = outcome(id=2, total=5000, status=3)
    assert {step: large["steps"][step]["status"] for step in ("approval_gate", "write_card", "ship")} == {
        "approval_gate": "waiting", "write_card": "skipped", "ship": "pending",
    }  # fmt: skip


STARTING = "\n\n" + re.search(r"## Starting it\n\n```python\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.mark.slow
def test_mypy_is_content_with_the_example(at_work):
    file = at_work.directory / "orders.py"
    file.write_text(file.read_text() + STARTING)
    at_work("mypy", "--strict", "--follow-imports=silent", "orders.py")


def test_the_example_is_started_as_it_is_written(at_work):
    program = """

async def main():
    async with stepwell.connect() as client:
        print(await take(client))


import asyncio
asyncio.run(main())
"""
    (at_work.directory / "starting.py").write_text("from orders import *\n" + STARTING + program)
    assert at_work("starting").stdout == "1 is on its way, r-1\n"


def test_the_error_is_the_one_that_the_page_shows(at_work):
    file = at_work.directory / "orders.py"
    file.write_text(file.read_text().replace("with stepwell.when(receipt.paid > 1000):", "if receipt.paid:"))
    refused = at_work("stepwell", "validate", "orders.py", status=2).stderr.splitlines()
    assert refused[0] in PAGE, refused
