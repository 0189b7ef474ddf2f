"""``stepwell schema``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from stepwell.cli.exits import OutputError
from stepwell.cli.output import print
from stepwell.cli.signature import Option
from stepwell.language import definition_schema


async def schema(
    types: Annotated[
        Sequence[str], Option("--type", metavar="NAME", help="A step type of your own to allow, too.")
    ] = (),
    output: Annotated[
        Path | None, Option("--output", metavar="FILE", help="Write it to a file instead of printing it.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON, as without it.")] = False,
) -> int:
    """Print the JSON Schema of definitions, with which editors check and complete YAML.

    \b
    stepwell schema --output stepwell.schema.json
    # and as the first line of a definition:
    # yaml-language-server: $schema=stepwell.schema.json
    """
    del as_json  # it is JSON either way
    text = json.dumps(definition_schema(types), indent=2, ensure_ascii=False)
    if output is None:
        print(text)
        return 0
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {error.strerror}") from None
    print(f"{output} is written. First line of a definition beside it: # yaml-language-server: $schema={output.name}")
    return 0
