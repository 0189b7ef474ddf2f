"""The Python client: registers, starts, watches and controls workflows.

``Client`` is imported when it is first used, so importing another module of this package does not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.client.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    if name != "Client":
        raise AttributeError(f"module 'stepwell.client' has no attribute {name!r}")
    from stepwell.client.client import Client  # noqa: PLC0415 - see above

    return Client
