"""``stepwell asyncapi``."""

from __future__ import annotations

import json
import os
from typing import Annotated

from stepwell import __version__
from stepwell.cli.exits import UsageError
from stepwell.cli.options import LogUrl
from stepwell.cli.output import print
from stepwell.cli.signature import Option
from stepwell.log.address import parse
from stepwell.log.kafka.settings import read_settings
from stepwell.schemas.definitions.yaml_core import write_yaml
from stepwell.schemas.records.asyncapi import describe


async def asyncapi(
    as_yaml: Annotated[bool, Option("--yaml", help="Print YAML instead of JSON.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON, as without it.")] = False,
    log: LogUrl = None,
) -> int:
    """Print the AsyncAPI 3 description of what other programs may write and read: commands, starts, the feed.

    \b
    stepwell asyncapi --yaml > stepwell.asyncapi.yaml
    """
    if as_yaml and as_json:
        raise UsageError("it is one or the other", place="--yaml --json")
    namespace, brokers = "stepwell", list[str]()
    if log is not None and (url := parse(log)).scheme == "kafka":
        settings = read_settings(url, os.environ)
        namespace, brokers = settings.namespace, settings.bootstrap.split(",")
    document = describe(version=__version__, namespace=namespace, brokers=brokers)
    if as_yaml:
        print(write_yaml(document), end="")
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
