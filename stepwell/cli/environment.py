"""The environment of a process: read from a file when asked, and looked through for what means nothing here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stepwell.cli.exits import UsageError
from stepwell.errors import DefinitionError
from stepwell.logs import Logger
from stepwell.own_files import claim
from stepwell.schemas.definitions.text import read_text

OPTION: Final = "--env-file"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[^=\s]*)\s*=\s*
    (?:'(?P<plain>[^']*)'|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<bare>[^'"#\s][^\n]*?)?)\s*(?:(?:^|\s)\#[^\n]*)?""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}

# Settings that other engines have in their environment, for what works otherwise here. What has a counterpart is not
# among them: docs/terminal.md has the table.
_ELSEWHERE: Final = re.compile(
    r"ENVIRONMENT|WORKER_HEARTBEAT_TIMEOUT|WORKER_STALE_CLAIM_INTERVAL|STALE_TIMEOUT_[A-Z0-9_]+|ORCHESTRATOR_[A-Z0-9_]+"
)
_logger = Logger("stepwell.environment")


def take_env_file(words: list[str]) -> list[str]:
    """Take ``--env-file FILE`` out of a command's words, wherever it stands, and put what the file says in place.

    What the environment has already is not replaced. Of several files, the first has the last word.

    Returns:
        The other words.

    Raises:
        UsageError: The file cannot be read, or a line of it is none.
    """
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*left, word, *rest]
        if word == OPTION:
            name = next(rest, None)
            if name is None:
                raise UsageError("needs a file", place=OPTION, remedy=f"As in {OPTION} .env")
        elif word.startswith(f"{OPTION}="):
            name = word.partition("=")[2]
        else:
            left.append(word)
            continue
        claim(name)  # it holds secrets
        for key, value in read_env_file(Path(name)).items():
            os.environ.setdefault(key, value)
    return left


def read_env_file(path: Path) -> dict[str, str]:
    """What a file says, in lines such as ``NAME=value``, ``export NAME='value'`` and ``# a remark``.

    In double quotes, ``\\n``, ``\\t``, ``\\"`` and ``\\\\`` are escapes; nothing is put in place of ``$NAME``.

    Raises:
        UsageError: The file cannot be read, or a line of it is none.
    """
    try:
        text = read_text(path)
    except DefinitionError as error:
        raise UsageError(error.problems[0], place=f"{OPTION} {path}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        said = _LINE.fullmatch(line)
        if said is None or not _NAME.fullmatch(said["name"]):
            raise UsageError("is not of the form NAME=VALUE", place=f"{path}, line {number}")
        if said["quoted"] is not None:
            value = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), said["quoted"])
        else:
            value = said["plain"] if said["plain"] is not None else (said["bare"] or "")
        found[said["name"]] = value
    return found


def tell_unused(environment: Mapping[str, str] = os.environ) -> None:
    """Warn, once for all of them, of variables of other engines that have no counterpart here."""
    names = sorted(name for name in environment if _ELSEWHERE.fullmatch(name))
    if names:
        _logger.warning(
            "the environment has settings that Stepwell does not know",
            names=", ".join(names),
            remedy="unset them; docs/terminal.md, Environment, says what does the same",
        )
