"""Byte code for the processes that tests start, where the environment says that Python writes none.

With ``PYTHONDONTWRITEBYTECODE`` (images of containers often set it) each process compiles all that it imports: most of
what a verb of the terminal costs then. So it is compiled once, into a directory apart, where they all find it. They
write none themselves: a test may change a module twice within a second, which the date in byte code does not tell.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
NONE, PLACE = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"
# Imports every module of the package, and so what they need.
PROGRAM = """
import contextlib, importlib, pkgutil, stepwell
for module in pkgutil.walk_packages(stepwell.__path__, "stepwell."):
    if not module.name.endswith("__main__"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)
"""


def compile_once(place: Path) -> None:
    """Compile the package and what it needs, unless the environment lets Python keep byte code by itself.

    Args:
        place: The directory for the byte code; what is in it from before is used where its source is still the same.
    """
    if not sys.dont_write_bytecode or sys.pycache_prefix is not None:
        return
    os.environ[PLACE] = sys.pycache_prefix = str(place)
    environment = {name: value for name, value in os.environ.items() if name != NONE}
    # What cannot be imported fails the tests of it.
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, check=False)


def let_write() -> bool:
    """Let processes that are started from here on keep byte code, and say whether that is a change.

    The processes of xdist import pytest and its plugins before they can be told anything.
    """
    return sys.pycache_prefix is not None and os.environ.pop(NONE, None) is not None


def let_write_no_more() -> None:
    """Undo ``let_write``, in one of those processes."""
    os.environ[NONE] = "1"
    sys.dont_write_bytecode = True


@contextmanager
def kept() -> Iterator[None]:
    """Keep the byte code of what is imported in the block, if there is a directory for it."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = before and sys.pycache_prefix is None
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
