"""What the signature of a verb says, as a command of click: each parameter is an option or an argument.

A verb is one function. Its parameters are annotated with an ``Option`` or an ``Argument`` beside their type, so that
what several verbs take stands once, in ``options``::

    async def status(instance_id: Id, as_json: Json = False, log: Log = None) -> int: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Option:
    """How a parameter is written on the command line as an option.

    Args:
        names: As people write them, ``--follow``, ``-f``; by default the parameter's own, and for a truth value its
            opposite, too: ``--pause/--no-pause``.
        metavar: What stands for the value in help.
        help: One sentence.
        min: The smallest number that is taken, and
        max: the largest.
        check: Called with the value; returns the one to use, or raises ``click.BadParameter``.
        envvar: An environment variable that is read where the option is not given.
        shows_default: Whether help tells the default.
        complete: What a shell may put in place of a word that is begun.
    """

    def __init__(
        self,
        *names: str,
        metavar: str | None = None,
        help: str = "",  # noqa: A002 - click's word
        min: float | None = None,  # noqa: A002
        max: float | None = None,  # noqa: A002
        check: Callable[[Any], Any] | None = None,
        envvar: str | None = None,
        shows_default: bool = True,
        complete: Complete | None = None,
    ) -> None:
        self.names = names
        self.metavar = metavar
        self.help = help
        self.min = min
        self.max = max
        self.check = check
        self.envvar = envvar
        self.shows_default = shows_default
        self.complete = complete


class Argument:
    """How a parameter is written on the command line by its position.

    Args:
        metavar: What stands for it in help.
        help: One sentence.
        check: As of ``Option``.
        complete: As of ``Option``.
    """

    def __init__(
        self,
        metavar: str,
        help: str,  # noqa: A002 - click's word
        *,
        check: Callable[[Any], Any] | None = None,
        complete: Complete | None = None,
    ) -> None:
        self.metavar = metavar
        self.help = help
        self.check = check
        self.complete = complete


class Command(click.Command):
    """A verb whose help explains its arguments, too."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the verb takes: arguments first, then options."""
        arguments = [
            (one.make_metavar(ctx), one.explanation) for one in self.get_params(ctx) if isinstance(one, _Argument)
        ]
        options = [one.get_help_record(ctx) for one in self.get_params(ctx) if isinstance(one, click.Option)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row is not None])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class _Argument(click.Argument):
    def __init__(self, *args: Any, explanation: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.explanation = explanation


def command_of(
    name: str, function: Callable[..., Any], run: Callable[[Callable[[], Any]], int], *, hidden: bool = False
) -> Command:
    """The command that a verb's function is.

    Args:
        name: What people type.
        function: Its parameters are the command's, its docstring is the help.
        run: Called with what calls the function; returns the exit status.
        hidden: Whether help leaves it out.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()

    def call(**values: Any) -> int:
        return run(lambda: function(**values))

    return Command(
        name,
        callback=call,
        params=[_parameter(one, hints[one.name]) for one in parameters],
        help=inspect.getdoc(function),
        hidden=hidden,
    )


def _parameter(parameter: inspect.Parameter, hint: Any) -> click.Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the parameter {parameter.name!r} of a verb says neither Option nor Argument")
    kind, said = get_args(hint)[:2]
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    many = get_origin(kind) is Sequence
    if many:
        (kind,) = get_args(kind)
    if kind not in (bool, float, int, str, Path):
        raise TypeError(f"the parameter {parameter.name!r} of a verb cannot be read from a word: {kind}")
    is_required = parameter.default is inspect.Parameter.empty

    def taken(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        value = list(value) if many else value
        return said.check(value) if said.check is not None else value

    common: dict[str, Any] = {"type": _type_of(kind, said), "required": is_required, "callback": taken}
    if said.complete is not None:
        common["shell_complete"] = said.complete
    if not is_required:
        common["default"] = parameter.default
    if isinstance(said, Argument):
        return _Argument(
            [parameter.name],
            metavar=said.metavar if is_required or said.metavar.startswith("[") else f"[{said.metavar}]",
            nargs=-1 if many else 1,
            explanation=said.help,
            **common,
        )
    names = said.names or (_written(parameter.name, kind),)
    return click.Option(
        [*names, parameter.name],
        metavar=said.metavar,
        help=said.help,
        multiple=many,
        is_flag=kind is bool,
        envvar=said.envvar,
        show_envvar=True,
        show_default=said.shows_default and parameter.default not in (None, ""),
        **common,
    )


def _written(name: str, kind: Any) -> str:
    words = name.replace("_", "-")
    return f"--{words}/--no-{words}" if kind is bool else f"--{words}"


def _type_of(kind: Any, said: Option | Argument) -> Any:
    if kind is Path:
        return click.Path(path_type=Path)
    if isinstance(said, Argument) or said.min is said.max is None:
        return kind
    if kind is int:
        least, most = (None if bound is None else int(bound) for bound in (said.min, said.max))
        return click.IntRange(least, most)
    return click.FloatRange(said.min, said.max)
