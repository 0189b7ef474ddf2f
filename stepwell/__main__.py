"""``python -m stepwell`` is ``stepwell``."""

from __future__ import annotations

import os
import sys

if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - compared as text
    del sys.path[0]  # -m puts it there: a file of the working directory would stand in for any module

from stepwell.cli.main import entry

entry()
