"""What a shell completes besides verbs and options: ids of instances, and names of workflows.

A shell asks while somebody types. So nothing is made where there is no log, no trouble is told, and what takes
longer than two seconds is left out. How a word is written for each shell is in ``shells``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from stepwell.client.client import Client

_PATIENCE: Final = 2.0  # seconds; who types waits no longer
_MOST: Final = 1_000  # ids, the newest: what one page of the read models holds

Found = Iterable[tuple[str, str]]
"""Words, each with what a shell shows beside it."""


def instance_ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The ids of instances that begin as the word does, the newest first."""
    return _completed(context, begun, _instance_ids)


def workflow_names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of registered workflows that begin as the word does."""
    return _completed(context, begun, _workflow_names)


def names_and_versions(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The same; and NAME@VERSION once the word has an ``@``."""
    return _completed(context, begun, _both if "@" in begun else _workflow_names)


def workflow_versions(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """NAME@VERSION of what is registered, as far as it begins as the word does."""
    return _completed(context, begun, _workflow_versions)


def names_or_files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of registered workflows; where none begins so, the shell's own files."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only shells ask

    return workflow_names(context, parameter, begun) or [CompletionItem(begun, type="file")]


def _completed(context: click.Context, begun: str, ask: Callable[[Client], Awaitable[Found]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only shells ask

    from stepwell.errors import StepwellError  # noqa: PLC0415

    found: Found = ()
    with contextlib.suppress(StepwellError, OSError, TimeoutError):
        found = asyncio.run(_asked(context.params.get("log"), ask))
    return [
        CompletionItem(word, help=about)
        for word, about in found
        if word.startswith(begun) and not word.startswith("-")  # which would be taken for an option
    ]


async def _asked(log: str | None, ask: Callable[[Client], Awaitable[Found]]) -> Found:
    import stepwell.client.connect  # noqa: PLC0415 - before the time begins to count
    import stepwell.client.embedded  # noqa: F401, PLC0415
    from stepwell.cli.session import client_of  # noqa: PLC0415

    async with asyncio.timeout(_PATIENCE), client_of(log) as client:
        return await ask(client)


async def _instance_ids(client: Client) -> Found:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE / 2):  # what is there already is better than nothing
            await client.views.models.catch_up()
    page, _ = await client.views.instances(limit=_MOST, fresh=False, exact=False)
    return [(row.instance_id, f"{row.workflow} {row.version}, {row.status}") for row in page]


async def _workflow_names(client: Client) -> Found:
    newest = {one.name: one.description for one in await client.definitions()}
    return sorted(newest.items())


async def _both(client: Client) -> Found:
    return [*await _workflow_names(client), *await _workflow_versions(client)]


async def _workflow_versions(client: Client) -> Found:
    return [
        (f"{one.name}@{one.version}", "current" if one.current else "active" if one.active else "inactive")
        for one in await client.definitions()
    ]
