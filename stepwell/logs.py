"""Log lines, by structlog, which is imported only once there is something to say.

Importing structlog takes 0.1 s, a third of what a short ``stepwell run`` takes in all.

Where a program has configured structlog, everything goes where that says. Elsewhere warnings and errors go to stderr
(stdout belongs to results), and the rest nowhere, unless ``STEPWELL_DEBUG`` is set.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

from stepwell.errors import StepwellError, visible
from stepwell.stdout import results


def logger(name: str, level: int = logging.WARNING) -> Any:
    """A structlog logger.

    Args:
        name: The name of the logger, such as ``stepwell.engine``.
        level: What is told from this level on where structlog is not configured.
    """
    import structlog  # noqa: PLC0415 - see the module's docstring

    if structlog.is_configured():
        return structlog.get_logger(name)
    if os.environ.get("STEPWELL_DEBUG"):
        level = logging.DEBUG
    wrapper = structlog.make_filtering_bound_logger(level)
    # Plain tracebacks: structlog's own show local variables, and with them what handlers were given.
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )
    stamp = structlog.processors.TimeStamper(fmt="iso")
    processors: Any = [structlog.processors.add_log_level, stamp, _plainly, plain]
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=processors, wrapper_class=wrapper)


@contextlib.contextmanager
def in_sentences() -> Iterator[None]:
    """Tell warnings as sentences on stderr, for people who typed a command; until somebody configures structlog."""
    before, _told_as.sentences = _told_as.sentences, True
    try:
        yield
    finally:
        _told_as.sentences = before


class _ToldAs:
    sentences = False


_told_as = _ToldAs()


def _sentence(event: str, reason: object = "", **values: Any) -> str:
    because = f": {' '.join(str(reason).split())}" if reason else ""
    rest = f" ({', '.join(f'{name} {value}' for name, value in values.items())})" if values else ""
    return visible(f"warning: {event}{because}{rest}")


def configure(*, as_json: bool) -> None:
    """Tell everything that an operator may want to know: for processes that run for long.

    A program that has configured structlog itself is left as it is.

    Args:
        as_json: One JSON object a line on stdout, for log collectors; otherwise text for people on stderr.
    """
    import structlog  # noqa: PLC0415 - see the module's docstring

    if structlog.is_configured():
        return
    stream = results() if as_json else sys.stderr
    shown: list[Any] = (
        [structlog.processors.TimeStamper(fmt="iso"), structlog.processors.format_exc_info]
        if as_json
        else [structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)]
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, *shown, _plainly, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_level()),
        logger_factory=lambda *_: _Lines(stream),
    )


def _plainly(_logger: Any, _method: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters and line breaks in values, so that they cannot control a terminal or forge a line.

    A traceback keeps its line breaks.
    """
    for name, value in values.items():
        if isinstance(value, str):
            text = visible(value)
            values[name] = text if name == "exception" else text.replace("\n", "\\n")
    return values


def _level() -> int:
    """From which level on things are told: all with ``STEPWELL_DEBUG``, or what ``LOG_LEVEL`` says, or INFO.

    Raises:
        StepwellError: ``LOG_LEVEL`` is no level.
    """
    if os.environ.get("STEPWELL_DEBUG"):
        return logging.DEBUG
    said = os.environ.get("LOG_LEVEL", "").strip()
    level = logging.getLevelNamesMapping().get(said.upper()) if said else logging.INFO
    if not level:
        raise StepwellError(
            f"{said!r} is no level", place="LOG_LEVEL", remedy="DEBUG, INFO, WARNING, ERROR or CRITICAL; or unset it."
        )
    return level


class _Lines:
    """Prints lines. If the stream is closed, the process continues without log lines."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Print one line."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream was closed
            print(line, file=self._stream, flush=True)

    debug = info = warning = error = critical = exception = msg


class Logger:
    """A logger that imports structlog and makes its structlog logger with its first line.

    Args:
        name: The name of the logger, such as ``stepwell.engine``.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **values: Any) -> None:
        """Log a line for debugging."""
        if _is_chatty():
            logger(self._name).debug(event, **values)

    def info(self, event: str, **values: Any) -> None:
        """Log a line that an operator may want to read."""
        if _is_chatty():
            logger(self._name).info(event, **values)

    def warning(self, event: str, **values: Any) -> None:
        """Log a line that an operator should read."""
        if _told_as.sentences and not _is_chatty():
            _Lines(sys.stderr).msg(_sentence(event, **values))
            return
        logger(self._name).warning(event, **values)

    def error(self, event: str, **values: Any) -> None:
        """Log the reason why something ends."""
        logger(self._name).error(event, **values)

    def exception(self, event: str, **values: Any) -> None:
        """Log the exception that is being handled, with its traceback."""
        logger(self._name).exception(event, **values)


def _is_chatty() -> bool:
    """Whether lines below the level of warnings are printed."""
    structlog = sys.modules.get("structlog")
    return bool(os.environ.get("STEPWELL_DEBUG")) or (structlog is not None and structlog.is_configured())
