"""What one says about a Kafka log: in its URL, or in the environment."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import fields, replace

from stepwell.errors import LogError
from stepwell.log.address import LogUrl

PREFIX: Final = "STEPWELL_KAFKA_"  # of the variables that hold what is not for a URL, passwords above all
_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSIONS: Final = ("none", "gzip", "lz4", "snappy", "zstd")
_ADDRESS: Final = re.compile(
    r"(?:(?=.{1,253}:)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})"
)
_MOST: Final = {  # the first three in seconds; Kafka writes them in milliseconds, and all in 32 bits
    "session_timeout": 1_000_000,
    "connect_timeout": 1_000_000,
    "append_timeout": 1_000_000,
    "max_record_bytes": 500_000_000,
}
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


class KafkaSettings(Struct, frozen=True):
    """All there is to choose. Times are in seconds.

    Attributes:
        bootstrap: ``host:port`` of some brokers, with commas.
        namespace: What the names of topics and groups begin with.
        partitions: How many a new log gets; for one that exists it has to agree. 0: 4, or what there is.
        replication: Copies of each record; 0: three where there are three brokers, else one.
        session_timeout: How long a process may be silent before the others take over.
        connect_timeout: How long to try to reach a broker when the log is opened.
        append_timeout: How long an append may take; after that nothing is known about it.
    """

    bootstrap: str
    namespace: str = "stepwell"
    partitions: int = 0
    replication: int = 0
    compression: str = "lz4"
    max_record_bytes: int = 1_048_576
    session_timeout: float = 6.0
    connect_timeout: float = 15.0
    append_timeout: float = 20.0
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""

    @property
    def place(self) -> str:
        """The log, as messages name it: no word of users and passwords."""
        return f"kafka://{self.bootstrap}?namespace={self.namespace}"

    def __repr__(self) -> str:
        return f"KafkaSettings({self.place!r})"

    def client(self) -> dict[str, Any]:
        """What every client of aiokafka is told."""
        secure: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            secure["ssl_context"] = self._tls()
        if self.security_protocol.startswith("SASL"):
            secure["sasl_mechanism"] = self.sasl_mechanism
            secure["sasl_plain_username"] = self.sasl_username
            secure["sasl_plain_password"] = self.sasl_password
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "client_id": f"stepwell-{os.getpid()}",
            "retry_backoff_ms": 50,
            **secure,
        }

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile or None)
            if self.ssl_certfile:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile or None)
        except (OSError, ssl.SSLError) as error:
            raise LogError(
                f"the TLS files cannot be read: {error}",
                place=self.place,
                remedy="Check ssl_cafile, ssl_certfile and ssl_keyfile: paths of PEM files.",
            ) from error
        return context


def read_settings(url: LogUrl, environment: Mapping[str, str]) -> KafkaSettings:
    """What a URL says, and for what it does not say, the environment (``STEPWELL_KAFKA_SASL_PASSWORD`` and so on).

    Raises:
        LogError: It says something that means nothing, or that cannot be.
    """
    bare, bootstrap = url.bare, url.brokers
    addresses = bootstrap.split(",")
    if "@" in bootstrap:
        raise LogError(
            "a Kafka URL has no user in front of its hosts",
            place="kafka://…",
            remedy=f"Set {PREFIX}SASL_USERNAME and {PREFIX}SASL_PASSWORD, or write ?sasl_username=….",
        )
    if not all((found := _ADDRESS.fullmatch(address)) and 0 < int(found[1]) < 65_536 for address in addresses):
        raise LogError(
            "the URL does not name Kafka's brokers",
            place=bare,
            remedy="Write kafka://HOST:PORT, or kafka://HOST:PORT,HOST:PORT,… for several.",
        )
    kinds = {field.name: type(field.default) for field in fields(KafkaSettings)}
    del kinds["bootstrap"]
    said = {name: environment[PREFIX + name.upper()] for name in kinds if environment.get(PREFIX + name.upper())}
    for name, value in url.options:
        if name not in kinds:
            raise LogError(f"{name} means nothing to a Kafka log", place=bare, remedy=f"It knows {', '.join(kinds)}.")
        said[name] = value
    values: dict[str, Any] = {}
    for name, text in said.items():
        try:
            values[name] = kinds[name](text)
        except ValueError:
            raise LogError(f"{name}={text} is no number", place=bare, remedy=f"Write {name}=N.") from None
    settings = KafkaSettings(bootstrap, **values)
    if "security_protocol" not in values and settings.sasl_username:
        settings = replace(settings, security_protocol="SASL_SSL")  # never a password in the clear unless told so
    check(settings)
    return settings


def check(settings: KafkaSettings) -> None:
    """Refuse what cannot be.

    Raises:
        LogError: One of the settings, with what it may be.
    """
    for name, found, known in (
        ("security_protocol", settings.security_protocol, _PROTOCOLS),
        ("sasl_mechanism", settings.sasl_mechanism, _MECHANISMS),
        ("compression", settings.compression, _COMPRESSIONS),
    ):
        if found not in known:
            raise LogError(f"{name}={found} is unknown", place=settings.place, remedy=f"Choose {' or '.join(known)}.")
    if not _NAMESPACE.fullmatch(settings.namespace):
        raise LogError(
            f"namespace={settings.namespace} cannot begin names of topics",
            place=f"kafka://{settings.bootstrap}",
            remedy="Use letters, digits, dots, dashes; at most 100.",
        )
    for name in _MOST:
        if not 0 < getattr(settings, name) <= _MOST[name]:
            raise LogError(
                f"{name} must be more than 0, and at most {_MOST[name]:,}",
                place=settings.place,
                remedy=f"Write {name}=N.",
            )
    if not 0 <= settings.partitions <= 10_000 or not 0 <= settings.replication <= 100:
        raise LogError(
            "a log cannot have so many partitions or copies",
            place=settings.place,
            remedy="Choose 1 to 10,000 partitions; 0 or a few copies.",
        )
    if settings.security_protocol.startswith("SASL") and not (settings.sasl_username and settings.sasl_password):
        raise LogError(
            "SASL needs a user and a password",
            place=settings.place,
            remedy=f"Set {PREFIX}SASL_USERNAME and {PREFIX}SASL_PASSWORD.",
        )
