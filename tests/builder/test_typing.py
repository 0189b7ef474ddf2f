"""mypy knows what goes into a step and what comes out of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
GOOD, BAD = ROOT / "tests/builder/typed_good.py", ROOT / "tests/builder/typed_bad.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What mypy says of both files, as (file, line, code)."""
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent",
            "--cache-dir", str(tmp_path_factory.mktemp("mypy")), str(GOOD), str(BAD),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    lines = re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert lines, done.stdout
    return {(Path(file).name, int(line), code) for file, line, code in lines}


@pytest.mark.slow
def test_a_workflow_that_is_right_has_no_errors(found):
    assert [error for error in found if error[0] == GOOD.name] == []


@pytest.mark.slow
def test_every_wrong_argument_and_result_is_an_error_on_its_line(found):
    marked = {
        (BAD.name, number, code)
        for number, line in enumerate(BAD.read_text().splitlines(), 1)
        for marks in re.findall(r"# error: ([\w, -]+)$", line)
        for code in marks.split(", ")
    }
    assert len(marked) >= 12
    assert {error for error in found if error[0] == BAD.name} == marked
