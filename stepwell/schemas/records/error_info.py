"""Errors as data: what events and commands say of what went wrong."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ErrorInfo"]


class ErrorInfo(Struct, frozen=True, gc=False, omit_defaults=True):
    """What went wrong, as data.

    Attributes:
        type: Class name of the error, such as ``ConnectionError``.
        kinds: Names of its base classes, so that a retry policy can name a whole family.
        retryable: What the handler itself says; None leaves it to the policy.
        retry_after: Seconds that the other side asks to be left alone for.
    """

    type: str
    message: str = ""
    kinds: tuple[str, ...] = ()
    traceback: str = ""
    retryable: bool | None = None
    retry_after: float | None = None
