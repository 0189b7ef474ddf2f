"""Telling of child workflows that nobody knows, before a step has its turn that starts one: that may be in days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from stepwell.logs import Logger
from stepwell.schemas.definitions.model import Definition

if TYPE_CHECKING:
    from stepwell.consumers.registry.definitions import Definitions

_logger = Logger("stepwell.definitions")


class MissingChild(NamedTuple):
    """A step that could start nothing now.

    Attributes:
        place: Where the child is named.
        reason: What is not there, with the name that is likely meant.
        step_id: Of the step.
    """

    place: str
    reason: str
    step_id: str


def missing_children(definition: Definition, definitions: Definitions) -> list[MissingChild]:
    """The steps whose workflow is not registered, or inactive. What a template names is known only when it runs.

    Args:
        definitions: As far as they were read.
    """
    found = []
    for index, step in enumerate(definition.steps):
        name, version = step.config.get("workflow"), step.config.get("version")
        if step.type != "workflow_trigger" or not isinstance(name, str) or "{{" in name:
            continue
        version = version if isinstance(version, str) and "{{" not in version else None
        known = definitions.resolve(name, version) is not None
        if not known and (version or name not in definitions.names()):
            wrong = "version" if version and definitions.resolve(name, None) is not None else "workflow"
            place = f'steps[{index}].config.{wrong} ("{step.id}")'
            found.append(MissingChild(place, definitions.unknown(name, version).message, step.id))
        elif not definitions.is_active(name, version):
            which = f"version {version}" if version else "every version"
            place = f'steps[{index}].config.workflow ("{step.id}")'
            found.append(MissingChild(place, f"{which} of workflow {name!r} is inactive", step.id))
    return found


def tell_children(these: Iterable[Definition], definitions: Definitions) -> None:
    """Warn of each: the definitions may be registered meanwhile, so it is no error."""
    for definition in these:
        for place, reason, _ in missing_children(definition, definitions):
            _logger.warning(
                "a step starts a workflow that is not there",
                workflow=definition.reference,
                place=place,
                reason=reason,
            )
