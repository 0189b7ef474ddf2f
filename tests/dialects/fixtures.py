"""Workflows in the dialects, each with the canonical form that it is compiled to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parent / "definitions"


class Fixture(NamedTuple):
    """A file of a dialect, and what ``stepwell plan --yaml`` prints of it."""

    dialect: str
    path: Path

    @property
    def golden(self) -> Path:
        """The canonical form, in a file beside it."""
        return self.path.with_suffix(".canonical.yaml")

    def __str__(self) -> str:
        return self.path.stem


def fixtures() -> list[Fixture]:
    """Every one that there is, known by the beginning of its name."""
    found = sorted(path for path in DIRECTORY.iterdir() if ".canonical" not in path.name)
    return [Fixture(path.stem.partition("_")[0], path) for path in found]
