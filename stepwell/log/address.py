"""A log's URL, taken apart: ``file:PATH`` or ``kafka://HOST:PORT``, with ``?NAME=VALUE&…``.

Everybody who needs a part of such a URL has it from ``parse``. What a part may be is said where it is used: by
``urls.open_log`` for files, by ``kafka.settings`` for Kafka.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from stepwell.arguments import check_texts
from stepwell.errors import LogError

DEFAULT_URL: Final = "file:.stepwell/log.db"
VARIABLE: Final = "STEPWELL_LOG"


class LogUrl(NamedTuple):
    """The parts of a log's URL, as they are written.

    Attributes:
        text: The whole URL.
        scheme: ``file`` or ``kafka``, or whatever else stands before the first colon; empty where there is no colon.
        place: What stands between the colon and the options.
        options: Names and values in their order, decoded; a name may come more than once.
    """

    text: str
    scheme: str
    place: str
    options: tuple[tuple[str, str], ...]

    @property
    def bare(self) -> str:
        """The URL without its options, for messages: passwords are only in options."""
        return self.text.partition("?")[0]

    @property
    def host(self) -> str:
        """The machine that a file's URL names between ``//`` and the next ``/``; empty where it names none."""
        return self.place[2:].partition("/")[0] if self.place.startswith("//") else ""

    @property
    def path(self) -> str:
        """The path that a file's URL names, decoded; empty where it names none."""
        if not self.place.startswith("//"):
            return unquote(self.place)
        _, slash, path = self.place[2:].partition("/")
        return unquote(slash + path)

    @property
    def brokers(self) -> str:
        """The brokers that a Kafka URL names: ``HOST:PORT``, several with commas."""
        return self.place.strip("/")


def parse(url: str) -> LogUrl:
    """Take a log's URL apart. Refuses nothing: a text that is no URL has no scheme."""
    before, colon, rest = url.partition(":")
    place, _, query = (rest if colon else url).partition("?")
    options = tuple(parse_qsl(query, keep_blank_values=True))
    return LogUrl(url, before if colon else "", place, options)


def chosen_url(url: str | None) -> str:
    """The URL of the log to use: the one given, else the environment's ``STEPWELL_LOG``, else ``DEFAULT_URL``.

    Raises:
        LogError: It is no text.
    """
    check_texts(LogError, none=True, url=url)
    return url or os.environ.get(VARIABLE) or DEFAULT_URL


def without_password(url: str) -> str:
    """A log's URL as it may be shown and kept."""
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", url)
