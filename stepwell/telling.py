"""Log lines, by structlog, which is imported only once there is something to say.

Importing structlog takes 0.1 s, a third of what a short ``stepwell run`` takes in all.

Where a program has configured structlog, everything goes where that says. Elsewhere warnings and errors go to stderr
(stdout belongs to results), and the rest nowhere, unless ``STEPWELL_DEBUG`` is set.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any


def logger(name: str, level: int = logging.WARNING) -> Any:
    """A structlog logger.

    Args:
        name: What it is called: ``stepwell.engine``.
        level: What is told from this level on where structlog is not configured.
    """
    import structlog  # noqa: PLC0415 - see the module's docstring

    if structlog.is_configured():
        return structlog.get_logger(name)
    if os.environ.get("STEPWELL_DEBUG"):
        level = logging.DEBUG
    wrapper = structlog.make_filtering_bound_logger(level)
    # Plain tracebacks: structlog's own show local variables, and with them what handlers were given.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    processors: Any = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), plain]
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=processors, wrapper_class=wrapper)


class Logger:
    """A logger that does not exist until it speaks.

    Args:
        name: What it is called: ``stepwell.engine``.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **values: Any) -> None:
        """Tell what helps to follow the program's steps."""
        if _is_chatty():
            logger(self._name).debug(event, **values)

    def info(self, event: str, **values: Any) -> None:
        """Tell what an operator may want to know."""
        if _is_chatty():
            logger(self._name).info(event, **values)

    def warning(self, event: str, **values: Any) -> None:
        """Tell what an operator should know."""
        logger(self._name).warning(event, **values)

    def exception(self, event: str, **values: Any) -> None:
        """Tell of an exception that is being handled."""
        logger(self._name).exception(event, **values)


def _is_chatty() -> bool:
    """Whether anybody could hear more than warnings."""
    structlog = sys.modules.get("structlog")
    return bool(os.environ.get("STEPWELL_DEBUG")) or (structlog is not None and structlog.is_configured())
