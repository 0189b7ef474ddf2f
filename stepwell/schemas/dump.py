"""Writing a definition as people read it: what is not said is the default."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from stepwell.schemas.definitions import Definition, decode_definition, encode_definition

_BREAKS: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_plain(definition: Definition) -> dict[str, Any]:
    """A definition as plain data, in the order of its fields, without defaults.

    Raises:
        msgspec.ValidationError: A field does not fit; structs built in Python are not checked before.
    """
    plain: dict[str, Any] = msgspec.to_builtins(decode_definition(encode_definition(definition)))
    version: dict[str, Any] = {
        "version": definition.version
    }  # also the default: left out, it would be made from the content
    head: dict[str, Any] = {key: plain.pop(key) for key in ("description", "tags") if key in plain}
    return {"name": definition.name, **version, **head, **plain}


def to_yaml(definition: Definition) -> str:
    """A definition as a YAML file that reads as the same definition, to the last bit of its hash.

    Raises:
        msgspec.ValidationError: As for ``to_plain``.
    """
    import yaml  # noqa: PLC0415 - start-up time

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # the same thing twice is written twice, as people do
            del data
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # Outside of double quotes PyYAML writes what YAML 1.1 takes for a line break as it is.
        style = '"' if _BREAKS.search(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(to_plain(definition), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=118)
