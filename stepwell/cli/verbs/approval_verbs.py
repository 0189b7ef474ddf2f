"""The verbs of people whom a workflow waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from stepwell.cli.options import Id, Json, Log
from stepwell.cli.signature import Option

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.client.run import Steered


Step = Annotated[
    str, Option("--step", metavar="STEP", help="The step; may be left out where only one waits for approval.")
]
By = Annotated[str, Option("--by", metavar="NAME", help="Who decides; your user name by default.")]
Comment = Annotated[str, Option("--comment", metavar="TEXT", help="Why; recorded.")]


def _decide(instance_id: str, verb: str, step: str, by: str, comment: str, *, as_json: bool, log: str | None) -> Any:
    from stepwell.cli.verbs import steering  # noqa: PLC0415 - start-up time

    async def ask(client: Client) -> Steered:
        decide = client.approve if verb == "approved" else client.reject
        return await decide(instance_id, step, by=by, comment=comment)

    return steering.steer(instance_id, verb, ask, as_json=as_json, log=log)


def approve(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> Any:
    """Approve what an instance waits for; who, when and why is recorded.

    \b
    stepwell approve order-1 --comment "within budget"
    stepwell approve order-1 --step level2 --by bob
    """
    return _decide(instance_id, "approved", step, by, comment, as_json=as_json, log=log)


def reject(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: Log = None
) -> Any:
    """Reject what an instance waits for: its step fails, or goes on with the rejection as its output.

    \b
    stepwell reject order-1 --comment "too expensive"
    """
    return _decide(instance_id, "rejected", step, by, comment, as_json=as_json, log=log)
