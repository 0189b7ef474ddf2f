"""The options and arguments that several verbs have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import click

from stepwell.cli.completion import instance_ids, workflow_versions
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


def split_queues(values: Sequence[str]) -> list[str]:
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
Id = Annotated[str, Argument(metavar="ID", check=check_id, complete=instance_ids, help="The instance's id.")]
LogUrl = Annotated[
    str | None,
    Option("--log", metavar="URL", envvar="STEPWELL_LOG", help="The log; file:.stepwell/log.db by default."),
]
Json = Annotated[bool, Option("--json", help="Print one JSON object and nothing else.")]
Modules = Annotated[
    Sequence[str],
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
    Sequence[str],
    Option("--handlers", metavar="MODULE", help="A module with step types of your own."),
]
Input = Annotated[str | None, Option("--input", metavar="JSON|@FILE", help="The workflow's input.")]
Params = Annotated[Sequence[str], Option("--param", metavar="K=V", help="One key of the input; JSON, or else text.")]
Queues = Annotated[
    Sequence[str],
    Option(
        "--queue", metavar="NAME", check=split_queues, shows_default=False,
        help="A queue to take steps from, or several by commas; repeat it for more. `default` without any.",
    ),
]  # fmt: skip
DEFAULT_QUEUES: Final = ("default",)
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
Version = Annotated[
    str, Argument(metavar="NAME@VERSION", complete=workflow_versions, help="A registered version of a workflow.")
]
Step = Annotated[
    str, Option("--step", metavar="STEP", help="The step; may be left out where only one waits for approval.")
]
By = Annotated[str, Option("--by", metavar="NAME", help="Who decides; your user name by default.")]
Comment = Annotated[str, Option("--comment", metavar="TEXT", help="Why; recorded.")]
Since = Annotated[
    str | None,
    Option("--since", metavar="TIME", help="From this time on: ISO, or an age such as 90s, 15m, 2h, 7d."),
]
Limit = Annotated[int, Option("--limit", metavar="N", min=1, max=1_000, help="How many to show.")]
Directory = Annotated[
    Path, Option("--directory", metavar="DIRECTORY", help="Where templates of your own are looked for.")
]
Age = Annotated[
    str,
    Option("--older-than", metavar="AGE", help="What finished longer ago, 90d, 12h, 2w; or before 2026-08-01."),
]
Lines = Annotated[bool, Option("--json", help="Print one JSON object a line, for log collectors.")]
Name = Annotated[
    str | None, Option("--name", metavar="NAME", help="What it is called; its host and process id by default.")
]
RetryFor = Annotated[
    float,
    Option(
        "--retry-for", metavar="SECONDS", min=0, help="How long to wait out trouble with the log, then exit with 75."
    ),
]
Tokens = Annotated[
    Path | None,
    Option(
        "--tokens",
        metavar="FILE",
        envvar="STEPWELL_TOKENS",
        help="The file of access tokens; .stepwell/tokens where there is one.",
    ),
]
DEFAULT_TOKENS: Final = Path(".stepwell/tokens")
