"""The canonical form as a text that people read and edit, and that loads to the same definition."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from stepwell.schemas.definitions import Definition

_WIDTH = 110  # characters of a line, before it is folded


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - what is there twice is written twice
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts of several lines as blocks, where YAML can write them so."""
    style = "|" if "\n" in text and not text.startswith((" ", "\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def canonical_yaml(definition: Definition) -> str:
    """A definition in the canonical form, as YAML; ``load_definition`` makes the same one of it."""
    plain = msgspec.to_builtins(definition)
    steps = plain.pop("steps")
    ordered = {key: plain.pop(key) for key in ("name", "version", "description", "tags") if key in plain}
    ordered = {**ordered, "version": definition.version, **plain, "steps": steps}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
