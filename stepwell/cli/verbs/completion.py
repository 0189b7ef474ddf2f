"""``stepwell completion``."""

from __future__ import annotations

from typing import Annotated, Final

import click
from click.shell_completion import get_completion_class

from stepwell.cli.exits import UsageError
from stepwell.cli.output import print
from stepwell.cli.signature import Argument
from stepwell.suggest import suggest

_SHELLS: Final = ("bash", "zsh", "fish")


async def completion(shell: Annotated[str, Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> int:
    """Print what a shell needs to complete verbs, options, ids of instances and names of workflows.

    \b
    eval "$(stepwell completion bash)"                                          # in ~/.bashrc
    eval "$(stepwell completion zsh)"                                           # in ~/.zshrc
    stepwell completion fish > ~/.config/fish/completions/stepwell.fish
    """
    kind = get_completion_class(shell) if shell in _SHELLS else None
    if kind is None:
        raise UsageError(
            f"there is no completion for {shell!r}{suggest(shell, _SHELLS)}",
            place="SHELL",
            remedy="bash, zsh and fish have one.",
        )
    program = click.get_current_context().find_root().command
    print(kind(program, {}, "stepwell", "_STEPWELL_COMPLETE").source())
    return 0
