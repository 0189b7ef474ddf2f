"""Where the read models of a log are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from stepwell.log.address import chosen_url, parse

VARIABLE: Final = "STEPWELL_VIEWS"


def views_directory(url: str | None) -> Path:
    """The directory of a log's read models: beside a log file; for Kafka, in ``.stepwell`` of the working directory.

    Args:
        url: The log's; as ``open_log`` takes it. ``STEPWELL_VIEWS`` names another directory for all logs.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return path_for(url, ".views", directory=Path(".stepwell"))


def path_for(url: str | None, suffix: str, *, directory: Path) -> Path:
    """Where something is kept that belongs to a log: beside its file; for Kafka, in a directory of this machine.

    Args:
        url: The log's; as ``open_log`` takes it.
        suffix: How its name ends, after the log's own.
        directory: The directory for logs that are no files.
    """
    found = parse(chosen_url(url))
    if found.scheme == "file":
        return Path(f"{found.path}{suffix}").expanduser()
    name = f"{found.brokers}-{dict(found.options).get('namespace', 'stepwell')}"
    return directory / f"kafka-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}{suffix}"
