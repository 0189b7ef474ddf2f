"""Where the read models of a log are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from stepwell.log.urls import DEFAULT_URL
from stepwell.log.urls import VARIABLE as LOG_VARIABLE

VARIABLE: Final = "STEPWELL_VIEWS"


def views_directory(url: str | None) -> Path:
    """The directory of a log's read models: beside a log file; for Kafka, in ``.stepwell`` of the working directory.

    Args:
        url: The log's; as ``open_log`` takes it. ``STEPWELL_VIEWS`` names another directory for all logs.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    url = url or os.environ.get(LOG_VARIABLE) or DEFAULT_URL
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    if scheme == "file":
        path = re.sub(r"^//[^/]*", "", place)
        return Path(f"{path}.views").expanduser()
    namespace = re.search(r"(?:^|&)namespace=([^&]*)", query)
    name = f"{place.strip('/')}-{namespace[1] if namespace else 'stepwell'}"
    return Path(".stepwell") / f"kafka-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.views"
