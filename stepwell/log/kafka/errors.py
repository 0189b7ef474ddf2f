"""What Kafka's errors mean to people: each with its place and a remedy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aiokafka.errors as kafka

from stepwell.errors import LogError, LogUnavailableError

_RIGHTS: Final = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
)
_LOGIN: Final = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
    kafka.SaslAuthenticationFailed,
)


if TYPE_CHECKING:  # aiokafka has no types: what a base class of ours is stands here
    _KafkaConnectionError = Exception
else:
    _KafkaConnectionError = kafka.KafkaConnectionError


class HungUpError(_KafkaConnectionError):
    """A broker can be reached, and closes every connection: so does a listener that expects another protocol."""


TROUBLE: Final = (kafka.KafkaError, OSError, asyncio.TimeoutError)
"""Whatever aiokafka raises when a request could not be answered."""

HOPELESS: Final = (*_RIGHTS, *_LOGIN, ssl.SSLError)
"""Trouble that waiting does not cure."""


def explain(error: BaseException, place: str, doing: str) -> LogError:
    """An error of aiokafka as one of ours.

    Args:
        place: The log.
        doing: What could not be done: ``append to events[3]``.
    """
    if isinstance(error, LogError):
        return error
    if isinstance(error, _RIGHTS):
        what = ", ".join(sorted(map(str, error.args[0]))) if error.args and not isinstance(error.args[0], str) else ""
        what = what or ", ".join(map(str, error.args))
        return LogError(
            f"Kafka does not allow this user to {doing}{f' ({what})' if what else ''}",
            place=place,
            remedy="Grant it the operations Create, Describe, DescribeConfigs, Read, Write and Delete on the topics, "
            "and Read on the groups, of this log's namespace.",
        )
    if isinstance(error, _LOGIN):
        return LogError(
            f"Kafka refused the login ({error})",
            place=place,
            remedy="Check security_protocol, sasl_mechanism, user name and password.",
        )
    if isinstance(error, ssl.SSLError):
        return LogError(
            f"no TLS connection: {error.reason or error}",
            place=place,
            remedy="Check security_protocol; ssl_cafile names the authority that signed the broker's certificate.",
        )
    if isinstance(error, kafka.InvalidSessionTimeoutError):
        return LogError(
            "Kafka does not allow so short or long a session",
            place=place,
            remedy="Choose a session_timeout within the broker's group.min.session.timeout.ms (6 s unless changed) "
            "and group.max.session.timeout.ms.",
        )
    # aiokafka puts the error's own name in front, which says it once more.
    name = ", ".join(map(str, error.args)) or type(error).__name__
    remedy = "Is the broker up, and can it be reached?"
    if isinstance(error, HungUpError):
        remedy = "It can be reached, and hangs up: does security_protocol fit the listener behind this port?"
    return LogUnavailableError(f"could not {doing}: {name}", place=place, remedy=remedy)


@contextmanager
def explained(place: str, doing: str) -> Iterator[None]:
    """Turn what aiokafka raises into our errors."""
    try:
        yield
    except TROUBLE as error:
        raise explain(error, place, doing) from error
