"""``stepwell cached``."""

from __future__ import annotations

from typing import Annotated, Any

from stepwell.cli.completion import names_and_versions
from stepwell.cli.drawing import seconds, short
from stepwell.cli.inputs import parse_input
from stepwell.cli.options import Input, Json, LogUrl, Params
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import age, caught_up, registered, seconds_of
from stepwell.command_line import command
from stepwell.errors import visible

NOTHING = 1  # exit status of `cached` where there is nothing


async def cached(
    workflow: Annotated[
        str, Argument(metavar="WORKFLOW[@VERSION]", complete=names_and_versions, help="A registered workflow.")
    ],
    input_text: Input = None,
    params: Params = (),
    max_age: Annotated[
        str | None, Option("--max-age", metavar="AGE", help="Only if it has completed since: 15m, 2h, 7d.")
    ] = None,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print the result of the newest instance that completed with an equal input: it need not be computed again.

    Exit status: 0 there is one, 1 there is none.

    \b
    stepwell cached report --input '{"month": "2026-11"}' --max-age 7d
    stepwell cached report@2 --param month=2026-11 || stepwell start report --param month=2026-11
    """
    oldest = seconds_of(max_age, "--max-age")
    data = parse_input(input_text, params)
    async with client_of(log) as client:
        name, version = await registered(client, workflow)
        await caught_up(client)
        found = await client.views.cached(name, data, version=version, max_age_seconds=oldest, fresh=False)
        view = None if found is None else await client.get(found.instance_id)
    output: Any = None if view is None else view.output
    if as_json:
        print_json({"cached": found, "output": output})
    elif found is None:
        words = ["start", name, *(("--version", version) if version else ())]
        words += [*(("--input", input_text) if input_text is not None else ())]
        words += [word for param in params for word in ("--param", param)]
        print(f"no instance of {short(name)} has completed with this input")
        print(f"  Compute it: {visible(command(*words, '--wait'))}{at(log)}")
    else:
        print(f"{found.instance_id}  completed {seconds(age(found.finished_at or 0))} ago")
        print_json(output)
    return 0 if found is not None else NOTHING
