"""``stepwell completion``."""

from __future__ import annotations

from typing import Annotated

import click

from stepwell.cli.exits import UsageError
from stepwell.cli.output import print
from stepwell.cli.shells import SHELLS
from stepwell.cli.signature import Argument
from stepwell.suggest import suggest


async def completion(shell: Annotated[str, Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> int:
    """Print what a shell needs to complete verbs, options, ids of instances and names of workflows.

    \b
    eval "$(stepwell completion bash)"                                          # in ~/.bashrc
    eval "$(stepwell completion zsh)"                                           # in ~/.zshrc
    stepwell completion fish > ~/.config/fish/completions/stepwell.fish
    """
    kind = SHELLS.get(shell)
    if kind is None:
        raise UsageError(
            f"there is no completion for {shell!r}{suggest(shell, SHELLS)}",
            place="SHELL",
            remedy="bash, zsh and fish have one.",
        )
    program = click.get_current_context().find_root().command
    print(kind(program, {}, "stepwell", "_STEPWELL_COMPLETE").source())
    return 0
