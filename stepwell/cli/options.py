"""The options that several verbs have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from stepwell.consumers.worker.settings import MAX_DELIVERIES
from stepwell.errors import visible

_LONGEST_ID = 200  # characters, as a command has it


def check_id(value: str | None) -> str | None:
    """Refuse an id that no command could have."""
    if value == "":
        raise typer.BadParameter("an id has one character at least.")
    if value is not None and len(value) > _LONGEST_ID:
        raise typer.BadParameter(f"an id has {_LONGEST_ID} characters at most, and this has {len(value):,}.")
    if value is not None and not is_unicode(value):
        raise typer.BadParameter(f"an id is Unicode, and this is not: {visible(value)}.")
    return value


def split_queues(values: list[str]) -> list[str]:
    """The queues that are named, by commas or again and again."""
    names = [part.strip() for value in values for part in value.split(",")]
    for name in names:
        if not name:
            raise typer.BadParameter("a queue's name has one character at least.")
        if not is_unicode(name):
            raise typer.BadParameter(f"a queue's name is Unicode, and this is not: {visible(name)}.")
    return list(dict.fromkeys(names))


def check_if_exists(value: str) -> str:
    """Refuse what is neither of the two."""
    if value not in ("refuse", "use"):
        raise typer.BadParameter(f"is refuse or use, not {visible(value)}.")
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
    typer.Argument(
        metavar="FILE",
        help="A definition: YAML, JSON, or Python that builds one (FILE.py, FILE.py:NAME, MODULE:NAME).",
    ),
]
Dialect = Annotated[
    str | None,
    typer.Option(
        "--dialect", metavar="NAME", help="How FILE is written, where its shape does not tell: docs/dialects.md."
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", callback=check_id, help="The instance's id.")]
Log = Annotated[
    str | None,
    typer.Option("--log", metavar="URL", envvar="STEPWELL_LOG", help="The log; file:.stepwell/log.db by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Modules = Annotated[
    list[str] | None,
    typer.Option("--handlers", metavar="MODULE", help="A module, or a prefix of some, that steps may import."),
]
StrictHandlers = Annotated[
    bool,
    typer.Option(
        "--strict-handlers/--no-strict-handlers",
        help="Run registered functions only (@stepwell.handler, @stepwell.step): none by a dotted path.",
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--handlers", metavar="MODULE", help="A module with step types of your own."),
]
Input = Annotated[str | None, typer.Option("--input", metavar="JSON|@FILE", help="The workflow's input.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="One key of the input; JSON, or else text.")
]
Queues = Annotated[
    list[str],
    typer.Option(
        "--queue", metavar="NAME", callback=split_queues, show_default=False,
        help="A queue to take steps from, or several by commas; repeat it for more. `default` without any.",
    ),
]  # fmt: skip
DEFAULT_QUEUES: Final = ["default"]
IfExists = Annotated[
    str,
    typer.Option(
        "--if-exists",
        metavar="refuse|use",
        callback=check_if_exists,
        help="Where the id belongs to an instance that was started for something else: refuse, or use that one.",
    ),
]
Workflows = Annotated[
    Path | None,
    typer.Option("--workflows", metavar="DIR", help="Definitions to register first; `workflows` where there is one."),
]
Priority = Annotated[int, typer.Option(metavar="N", min=0, max=100, help="Higher runs first under load.")]
Concurrency = Annotated[int | None, typer.Option(metavar="N", min=1, max=10_000, help="Steps that run at once.")]


def _for_all_workers(value: int | None) -> int | None:
    if value is not None:  # every worker of this process reads it there, and so do those of its children
        os.environ[MAX_DELIVERIES] = str(value)
    return value


MaxDeliveries = Annotated[
    int | None,
    typer.Option(
        "--max-deliveries",
        metavar="N",
        min=1,
        max=10_000,
        callback=_for_all_workers,
        help="How often a step is handed out to workers that die of it before it has failed; 5, or "
        "STEPWELL_MAX_DELIVERIES.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; recorded.")]
