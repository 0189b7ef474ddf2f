"""The directory whose definitions a process registers when it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.exits import UsageError

if TYPE_CHECKING:
    from stepwell.consumers.registry.folder import Folder
    from stepwell.logs import Logger


DEFAULT_DIRECTORY = Path("workflows")


def chosen_directory(directory: Path | None) -> Path | None:
    """Where the definitions are that a process registers when it starts; None for nowhere.

    Raises:
        UsageError: It was named, and is none.
    """
    if directory is None:
        return DEFAULT_DIRECTORY if DEFAULT_DIRECTORY.is_dir() else None
    if not directory.is_dir():
        raise UsageError(
            "there is no such directory",
            place=str(directory),
            remedy="--workflows names the directory that holds your definitions.",
        )
    return directory


_NAMED = 5  # files that were passed over, of which the others are counted


def tell_passed_over(paths: Sequence[Path], say: Callable[[str], object]) -> None:
    """Say in one line which files of a directory hold no definition."""
    if paths:
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        say(f"passed over, as they hold no definition: {', '.join(map(str, paths[:_NAMED]))}{more}")


async def look(folder: Folder, logger: Logger) -> None:
    """Register the files of a directory, and log what became of them.

    Raises:
        LogError: The log cannot be used.
    """
    made = await folder.look()
    tell_passed_over(folder.passed_over, logger.info)
    for one in made:
        if one.definition is None:
            logger.warning("definition refused", file=str(one.path), error=" ".join(str(one.error).split()))
        else:
            logger.info(
                "registered" if one.is_new else "is registered already",
                workflow=one.definition.name,
                version=one.definition.version,
                active=one.active,
                file=str(one.path),
            )
