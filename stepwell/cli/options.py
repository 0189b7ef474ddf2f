"""The options that several verbs have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import click

from stepwell.cli.signature import Argument, Option
from stepwell.consumers.worker.settings import MAX_DELIVERIES
from stepwell.errors import visible

_LONGEST_ID = 200  # characters, as a command has it


def check_id(value: str | None) -> str | None:
    """Refuse an id that no command could have."""
    if value == "":
        raise click.BadParameter("an id has one character at least.")
    if value is not None and len(value) > _LONGEST_ID:
        raise click.BadParameter(f"an id has {_LONGEST_ID} characters at most, and this has {len(value):,}.")
    if value is not None and not is_unicode(value):
        raise click.BadParameter(f"an id is Unicode, and this is not: {visible(value)}.")
    return value


def split_queues(values: list[str]) -> list[str]:
    """The queues that are named, by commas or again and again."""
    names = [part.strip() for value in values for part in value.split(",")]
    for name in names:
        if not name:
            raise click.BadParameter("a queue's name has one character at least.")
        if not is_unicode(name):
            raise click.BadParameter(f"a queue's name is Unicode, and this is not: {visible(name)}.")
    return list(dict.fromkeys(names))


def check_if_exists(value: str) -> str:
    """Refuse what is neither of the two."""
    if value not in ("refuse", "use"):
        raise click.BadParameter(f"is refuse or use, not {visible(value)}.")
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be written at all: an argument that is no UTF-8 has halves of characters (surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


File = Annotated[
    Path,
    Argument(
        metavar="FILE",
        help="A definition: YAML, JSON, or Python that builds one (FILE.py, FILE.py:NAME, MODULE:NAME).",
    ),
]
Dialect = Annotated[
    str | None,
    Option("--dialect", metavar="NAME", help="How FILE is written, where its shape does not tell: docs/dialects.md."),
]
Id = Annotated[str, Argument(metavar="ID", check=check_id, help="The instance's id.")]
Log = Annotated[
    str | None,
    Option("--log", metavar="URL", envvar="STEPWELL_LOG", help="The log; file:.stepwell/log.db by default."),
]
Json = Annotated[bool, Option("--json", help="Print one JSON object and nothing else.")]
Modules = Annotated[
    list[str] | None,
    Option("--handlers", metavar="MODULE", help="A module, or a prefix of some, that steps may import."),
]
StrictHandlers = Annotated[
    bool,
    Option(
        "--strict-handlers/--no-strict-handlers",
        help="Run registered functions only (@stepwell.handler, @stepwell.step): none by a dotted path.",
    ),
]
Types = Annotated[
    list[str] | None,
    Option("--handlers", metavar="MODULE", help="A module with step types of your own."),
]
Input = Annotated[str | None, Option("--input", metavar="JSON|@FILE", help="The workflow's input.")]
Params = Annotated[
    list[str] | None, Option("--param", metavar="K=V", help="One key of the input; JSON, or else text.")
]
Queues = Annotated[
    list[str],
    Option(
        "--queue", metavar="NAME", check=split_queues, shows_default=False,
        help="A queue to take steps from, or several by commas; repeat it for more. `default` without any.",
    ),
]  # fmt: skip
DEFAULT_QUEUES: Final = ["default"]
IfExists = Annotated[
    str,
    Option(
        "--if-exists",
        metavar="refuse|use",
        check=check_if_exists,
        help="Where the id belongs to an instance that was started for something else: refuse, or use that one.",
    ),
]
Workflows = Annotated[
    Path | None,
    Option("--workflows", metavar="DIR", help="Definitions to register first; `workflows` where there is one."),
]
Priority = Annotated[int, Option(metavar="N", min=0, max=100, help="Higher runs first under load.")]
Concurrency = Annotated[int | None, Option(metavar="N", min=1, max=10_000, help="Steps that run at once.")]


def _for_all_workers(value: int | None) -> int | None:
    if value is not None:  # every worker of this process reads it there, and so do those of its children
        os.environ[MAX_DELIVERIES] = str(value)
    return value


MaxDeliveries = Annotated[
    int | None,
    Option(
        "--max-deliveries",
        metavar="N",
        min=1,
        max=10_000,
        check=_for_all_workers,
        help="How often a step is handed out to workers that die of it before it has failed; 5, or "
        "STEPWELL_MAX_DELIVERIES.",
    ),
]
Reason = Annotated[str, Option("--reason", metavar="TEXT", help="Why; recorded.")]
