"""Telling of credentials that stand in a definition, before it is in the log for ever."""

from __future__ import annotations

from stepwell.language import literal_credentials
from stepwell.logs import Logger
from stepwell.schemas.definitions.model import Definition

_logger = Logger("stepwell.definitions")


def tell_credentials(definition: Definition) -> None:
    """Warn of each credential that is written out: a definition is recorded, and whoever may read at all reads it."""
    for place in literal_credentials(definition):
        _logger.warning(
            "a credential is written out in a definition",
            workflow=definition.name, place=place,
            remedy="{secret: NAME} stands for STEPWELL_SECRET_NAME of the worker's environment",
        )  # fmt: skip
