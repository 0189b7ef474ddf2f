"""Writing a definition as people read it: what is not said is the default."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.model import Definition, decode_definition, encode_definition


def to_plain(definition: Definition) -> dict[str, Any]:
    """A definition as plain data, in the order of its fields, without defaults.

    Raises:
        msgspec.ValidationError: A field does not fit; structs built in Python are not checked before.
        DefinitionError: It is no ``Definition``.
    """
    given: object = definition
    if not isinstance(given, Definition):
        raise DefinitionError([f"{given!r:.100} is no Definition"])
    plain: dict[str, Any] = msgspec.to_builtins(decode_definition(encode_definition(definition)))
    head = {"name": definition.name, "version": definition.version}  # left out, it would be made from the content
    return head | {key: plain[key] for key in ("description", "tags") if key in plain} | plain


def to_yaml(definition: Definition) -> str:
    """A definition as a YAML file that reads as the same definition, to the last bit of its hash.

    Raises:
        msgspec.ValidationError, DefinitionError: As for ``to_plain``.
    """
    from stepwell.schemas.definitions.yaml_core import write_yaml  # noqa: PLC0415 - start-up time

    return write_yaml(to_plain(definition))
