"""``stepwell token``."""

from __future__ import annotations

import sys
from typing import Annotated

from stepwell.cli.exits import UsageError
from stepwell.cli.options import DEFAULT_TOKENS, Json, Tokens
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Argument, Option
from stepwell.server.http.remembering import remember
from stepwell.server.tokens import Role, make_token
from stepwell.suggest import suggest


async def token(
    name: Annotated[str, Argument(metavar="NAME", help="Whose it is: what approvals and the audit will say.")],
    role: Annotated[
        str,
        Option(
            "--role",
            metavar="ROLE",
            help="monitor: health and metrics; viewer: reads; operator: also starts and steers; "
            "approver: also decides; worker: claims steps; admin.",
        ),
    ],
    tokens: Tokens = None,
    as_json: Json = False,
) -> int:
    """Make an access token for `stepwell serve`, print it once, and add its SHA-256 to a file.

    To revoke it, take its line out of the file; the server sees that within a second.

    \b
    stepwell token ops --role operator
    stepwell token alice --role approver --tokens /etc/stepwell/tokens
    """
    roles = [str(one) for one in Role]
    if role not in roles:
        message = f"there is no role {role!r}{suggest(role, roles)} (there are: {', '.join(roles)})"
        raise UsageError(message, place="--role")
    file = tokens or DEFAULT_TOKENS
    made = make_token(file, name, Role(role))
    if tokens is None:  # that of the log in this directory; of others it is not known what they are for
        remember(None, file)
    if as_json:
        print_json({"name": name, "role": role, "token": made, "file": str(file)})
        return 0
    print(made)
    print(f"{name} may use it as {role}. It is shown once: {file} holds only its SHA-256.", file=sys.stderr)
    return 0
