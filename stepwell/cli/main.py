"""The ``stepwell`` command: finds the verb that the arguments name, runs it, and ends with its exit status."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from stepwell.cli.exits import BAD_INPUT, INTERRUPTED, flushed, leave, print_error, show_error
from stepwell.cli.output import print
from stepwell.cli.verbs import GROUPS, Verb
from stepwell.logs import in_sentences
from stepwell.stdout import escape_what_cannot_be_written, open_what_is_closed, reserved
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ENV_FILE: Final = "--env-file"
_COMPLETES: Final = "_STEPWELL_COMPLETE"  # click's: a shell asks what a word may become


class Verbs(click.Group):
    """A command with verbs, each imported only when it is run, or when its own help is asked for.

    Args:
        groups: The verbs, by the heading under which help shows them.
    """

    def __init__(self, name: str, groups: Mapping[str, Sequence[Verb]], **more: Any) -> None:
        super().__init__(name, no_args_is_help=True, **more)
        self._groups = groups
        self._verbs = {verb.name: verb for verbs in groups.values() for verb in verbs}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """The names of all verbs, those that help leaves out among them."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command that a verb is; this imports it. None where there is no such verb."""
        verb = self._verbs.get(cmd_name)
        return None if verb is None else _command_of(verb)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the first word names, and the other words.

        Raises:
            click.UsageError: There is no such verb.
        """
        if args and not args[0].startswith("-") and args[0] not in self._verbs:
            shown = [verb.name for verb in self._verbs.values() if not verb.is_hidden]
            ctx.fail(f"No such command '{args[0]}'{suggest(args[0], shown)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what there is, a section for each group."""
        width = max(len(name) for name in self._verbs)
        for title, verbs in self._groups.items():
            rows = [(verb.name.ljust(width), verb.summary) for verb in verbs if not verb.is_hidden]
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a word may become."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only shells ask

        found = [
            CompletionItem(verb.name, help=verb.summary)
            for verb in self._verbs.values()
            if verb.name.startswith(incomplete) and not verb.is_hidden
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def _command_of(verb: Verb) -> click.Command:
    from stepwell.cli.signature import command_of  # noqa: PLC0415 - once a verb is named

    if verb.verbs:
        return Verbs(verb.name, {"Commands": verb.verbs}, help=verb.summary)
    module, _, name = verb.place.partition(":")
    function = getattr(importlib.import_module(f"stepwell.cli.verbs.{module}"), name)

    def run(work: Callable[[], Any]) -> int:
        from stepwell.cli.loop import fast_loop, finish  # noqa: PLC0415 - asyncio: not for help

        return finish(work, fast_loop if verb.fast_loop else None)

    return command_of(verb.name, function, run, hidden=verb.is_hidden)


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from stepwell import __version__  # noqa: PLC0415

        print(f"stepwell {__version__}")
        context.exit()


app: Final = Verbs(
    "stepwell",
    GROUPS,
    help="Run workflows that no crash can lose. Everything that ever happened is in the log.",
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
            help="Print the version.",
        ),
        click.Option(
            [_ENV_FILE], metavar="FILE", expose_value=False,  # taken before anything is parsed
            help="A file of NAME=VALUE lines for the environment; of any verb, anywhere.",
        ),
    ],
)  # fmt: skip
"""The command, with all verbs."""


def entry() -> None:
    """The console script: runs a verb and ends the process."""
    leave(command())


def command() -> int:
    """Run the verb that the arguments name: every error is one message, never a traceback.

    Returns:
        The exit status.
    """
    as_json = "--json" in sys.argv[1:]
    open_what_is_closed()
    escape_what_cannot_be_written()
    with reserved() if as_json else contextlib.nullcontext():
        return _command(as_json=as_json)


def _command(*, as_json: bool) -> int:
    try:
        with in_sentences():
            if any(word.startswith(_ENV_FILE) for word in sys.argv[1:]):
                from stepwell.cli.environment import take_env_file  # noqa: PLC0415 - only where it is asked for

                sys.argv[1:] = take_env_file(sys.argv[1:])  # first: options are read from the environment, too
            if _COMPLETES in os.environ:
                from stepwell.cli.shells import register  # noqa: PLC0415 - only shells ask

                register()
            return flushed(app.main(standalone_mode=False))
    except click.ClickException as wrong:
        return flushed(_refused(wrong, as_json=as_json))
    except click.Abort:
        return flushed(INTERRUPTED)
    except SystemExit as ended:
        return flushed(ended.code)
    except Exception as error:
        return flushed(show_error(error, as_json=as_json))


def _refused(wrong: click.ClickException, *, as_json: bool) -> int:
    """Say what is wrong with the words of the command; return the exit status."""
    told = io.StringIO()
    wrong.show(told)
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(told.getvalue(), end="", file=sys.stderr)
    if as_json and wrong.exit_code == BAD_INPUT:
        print_error(wrong.format_message(), "UsageError")
    return wrong.exit_code
