"""The verbs of people whom a workflow waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stepwell.cli.options import Id, Json, Log
from stepwell.cli.session import finish

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.client.run import Steered

app = typer.Typer(rich_markup_mode=None)


Step = Annotated[
    str, typer.Option("--step", metavar="STEP", help="The step; may be left out where only one waits for approval.")
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; your user name by default.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; recorded.")]


def _decide(instance_id: str, verb: str, step: str, by: str, comment: str, *, as_json: bool, log: str | None) -> None:
    from stepwell.cli.verbs import steering  # noqa: PLC0415 - start-up time

    async def ask(client: Client) -> Steered:
        decide = client.approve if verb == "approved" else client.reject
        return await decide(instance_id, step, by=by, comment=comment)

    finish(lambda: steering.steer(instance_id, verb, ask, as_json=as_json, log=log))


@app.command()
def approve(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> None:
    """Approve what an instance waits for; who, when and why is recorded.

    \b
    stepwell approve order-1 --comment "within budget"
    stepwell approve order-1 --step level2 --by bob
    """
    _decide(instance_id, "approved", step, by, comment, as_json=as_json, log=log)


@app.command()
def reject(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> None:
    """Reject what an instance waits for: its step fails, or goes on with the rejection as its output.

    \b
    stepwell reject order-1 --comment "too expensive"
    """
    _decide(instance_id, "rejected", step, by, comment, as_json=as_json, log=log)
