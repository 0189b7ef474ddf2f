"""The examples are run from the repository's root, and import from there."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


class Heard:
    """A context that remembers what it was told."""

    cancelled = False

    def __init__(self):
        self.progress = []

    def heartbeat(self, progress):
        self.progress.append(progress)


@pytest.fixture(scope="session")
def heard():
    return Heard
