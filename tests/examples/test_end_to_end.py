"""The examples as their READMEs run them: the real command on the real input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, name: str, input_file: str) -> dict:
    words = [sys.executable, "-m", "stepwell", "run", f"examples/{name}/workflow.yaml",
             "--handlers", f"examples.{name}.handlers", "--input", f"@examples/{name}/{input_file}",
             "--param", f"output_dir={tmp_path}/out",
             "--json", "--log", f"file:{tmp_path}/log.db"]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_residency_example_plans_a_compliant_year(tmp_path: Path):
    result = run(tmp_path, "residency", "input.json")
    assert result["output"]["status"] == "compliant"
    assert set(result["output"]["violations"].values()) == {0}
    assert result["steps"]["escalate"]["status"] == "skipped"
    assert "48 residents" in result["output"]["message"]


def test_a_roster_that_is_too_short_takes_the_other_way(tmp_path: Path):
    result = run(tmp_path, "residency", "input_short.json")
    assert result["steps"]["publish"]["status"] == "skipped"
    assert result["steps"]["escalate"]["status"] == "succeeded"
    assert sum(result["output"]["violations"].values()) == 733


@pytest.mark.parametrize(("input_file", "alert"), [("input.json", "succeeded"), ("input_calm.json", "skipped")])
def test_the_weather_pipeline_alerts_only_when_there_is_something(tmp_path: Path, input_file: str, alert: str):
    result = run(tmp_path, "weather_pipeline", input_file)
    assert result["status"] == "completed"
    assert result["steps"]["alert"]["status"] == alert


def test_the_parallel_example_joins_two_branches(tmp_path: Path):
    result = run(tmp_path, "parallel", "input.json")
    assert "unlikely to be chance" in result["output"]["analysis"]["finding"]


@pytest.mark.parametrize(("input_file", "dark"), [("input.json", False), ("input_winter.json", True)])
def test_the_walk_built_in_python_asks_a_warden_only_where_it_ends_in_the_dark(tmp_path: Path, input_file, dark):
    def stepwell(*words: str, status: int = 0) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "stepwell", *words, "--json", "--log", f"file:{tmp_path}/log.db"],
            cwd=ROOT, text=True, capture_output=True, timeout=HANG,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)

    words = ("run", "examples/builder/workflow.py", "--id", "walk", "--input", f"@examples/builder/{input_file}")
    if dark:
        waiting = stepwell(*words, status=3)
        assert waiting["steps"]["agreed"]["status"] == "waiting"
        stepwell("approve", "walk", "--by", "warden")
    result = stepwell(*words)
    assert result["steps"]["agreed"]["status"] == ("succeeded" if dark else "skipped")
    assert result["steps"]["pack"]["output"]["status"] == "completed"
    assert ("lamps" in result["output"]) is dark
    assert "17 km, 630 m up, 4.45 h" in result["output"]
