"""Type checkers know what goes into a step or a start, and what comes out of it."""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
GOOD, BAD = ROOT / "tests/builder/typed_good.py", ROOT / "tests/builder/typed_bad.py"
MARKED = {
    number: marks.split(", ")
    for number, line in enumerate(BAD.read_text().splitlines(), 1)
    for marks in re.findall(r"# error: ([\w, -]+)$", line)
}


@pytest.fixture(scope="module")
def mypy():
    """What mypy says of both files, as (file, line, code); with the cache that `mypy` itself has, so that it is quick."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(GOOD), str(BAD)],
        cwd=ROOT, capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    lines = re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert lines, done.stdout
    return {(Path(file).name, int(line), code) for file, line, code in lines}


@pytest.fixture(scope="module")
def pyright(tmp_path_factory):
    """What basedpyright, as pyright would be set, says of both files, as (file, line)."""
    settings = tmp_path_factory.mktemp("pyright") / "pyrightconfig.json"
    files = [str(GOOD), str(BAD)]
    settings.write_text(json.dumps({"include": files, "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}))
    program = Path(sysconfig.get_path("scripts")) / "basedpyright"
    done = subprocess.run(
        [str(program), "--pythonpath", sys.executable, "--project", str(settings), "--outputjson"],
        capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found}


def test_the_wrong_program_is_wrong_in_many_ways():
    assert len(MARKED) >= 35


@pytest.mark.slow
def test_a_program_that_is_right_has_no_errors_by_mypy(mypy):
    assert [error for error in mypy if error[0] != BAD.name] == []


@pytest.mark.slow
def test_every_wrong_line_is_an_error_by_mypy_and_no_other(mypy):
    marked = {(BAD.name, number, code) for number, codes in MARKED.items() for code in codes}
    assert {error for error in mypy if error[0] == BAD.name} == marked


@pytest.mark.slow
def test_a_program_that_is_right_has_no_errors_by_pyright(pyright):
    assert [error for error in pyright if error[0] != BAD.name] == []


@pytest.mark.slow
def test_every_wrong_line_is_an_error_by_pyright_and_no_other(pyright):
    assert {error for error in pyright if error[0] == BAD.name} == {(BAD.name, number) for number in MARKED}
