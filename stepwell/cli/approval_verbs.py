"""The verbs of people whom a workflow waits for."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from stepwell.cli.options import Id, Json, Log
from stepwell.cli.session import finish

app = typer.Typer(rich_markup_mode=None)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return ""


Step = Annotated[
    str, typer.Option("--step", metavar="STEP", help="The step; may be left out where only one waits for approval.")
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; your user name by default.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; recorded.")]


@app.command()
def approve(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> None:
    """Approve what an instance waits for; who, when and why is recorded.

    \b
    stepwell approve order-1 --comment "within budget"
    stepwell approve order-1 --step level2 --by bob
    """
    from stepwell.cli import steering  # noqa: PLC0415 - start-up time

    finish(
        lambda: steering.steer(
            instance_id,
            "approved",
            lambda c: c.approve(instance_id, step, by=by or _me(), comment=comment),
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def reject(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> None:
    """Reject what an instance waits for: its step fails, or goes on with the rejection as its output.

    \b
    stepwell reject order-1 --comment "too expensive"
    """
    from stepwell.cli import steering  # noqa: PLC0415 - start-up time

    finish(
        lambda: steering.steer(
            instance_id,
            "rejected",
            lambda c: c.reject(instance_id, step, by=by or _me(), comment=comment),
            as_json=as_json,
            log=log,
        )
    )
