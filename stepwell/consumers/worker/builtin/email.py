"""The ``email`` step: one mail by an SMTP server, with guarded addresses and errors told apart.

The host is resolved once, and judged as ``http_request`` judges hosts (``STEPWELL_HTTP_ALLOW``). The connection goes
to the very address that was judged; the certificate is checked against the host's name.

A mail cannot be sent exactly once: where the connection breaks after the mail and before the server's answer, nobody
knows whether it was taken. Each attempt of a run has the same ``Message-ID``, by which people and some servers know a
copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from typing import Any, Final

import httpx

from stepwell.consumers.worker.builtin._secret_values import SecretValues
from stepwell.consumers.worker.builtin._settings import Settings, read_timeout
from stepwell.consumers.worker.builtin.addresses import AllowList
from stepwell.consumers.worker.builtin.secrets import Hider
from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.values import shorten
from stepwell.errors import StepwellError
from stepwell.step_types.email import PORTS, TYPE

TIMEOUT_SECONDS: Final = 30.0
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_BREAKS: Final = re.compile(r"[\r\n\0]")  # what ends a header, or begins another one
_SHOWN: Final = 300  # characters of a server's answer


class EmailError(StepwellError):
    """A mail was not sent.

    Args:
        retryable: Whether another attempt may go better.
    """

    def __init__(self, message: str, *, retryable: bool = False, place: str = "", remedy: str = "") -> None:
        self.retryable = retryable
        super().__init__(message, place=place, remedy=remedy)


class EmailSettingsError(EmailError):
    """The settings of the step are wrong; ``place`` says which. Not retryable."""


class EmailConnectionError(EmailError, ConnectionError):
    """The server could not be reached, or broke off. Retryable, unless its certificate is wrong."""


class EmailTimeoutError(EmailError, TimeoutError):
    """The server did not take the mail in time. Retryable."""


class EmailRefusedError(EmailError):
    """The server refuses the mail, the login or every recipient. Retryable where it says 4xx: not now.

    Args:
        status: The server's code (RFC 5321, 4.2).
    """

    def __init__(self, message: str, *, status: int, remedy: str = "") -> None:
        self.status = status
        super().__init__(message, retryable=400 <= status < 500, remedy=remedy)


async def email(_data: Any, ctx: StepContext, *, bound: bool = False) -> dict[str, Any]:
    """Run an ``email`` step.

    Args:
        _data: The step's input; not used.
        ctx: ``config`` says what to send.
        bound: Whether secrets are only sent where the environment says that they may be.

    Raises:
        EmailSettingsError: ``config`` is wrong, a secret is not there, or aiosmtplib is not installed.
        AddressRefusedError: The host is not one that steps may connect to.
        UnknownHostError: Its name has no address.
        EmailConnectionError: It cannot be reached, or breaks off.
        EmailTimeoutError: It takes too long.
        EmailRefusedError: It refuses the mail.
    """
    settings = Settings(ctx.config, "config", TYPE.keys, EmailSettingsError)
    secrets = SecretValues(settings, os.environ, bound=bound, error=EmailSettingsError)
    mail = _Mail(settings, secrets, ctx)
    try:
        async with asyncio.timeout(mail.timeout_seconds):
            return await _send(mail)
    except EmailError:
        raise
    except TimeoutError:
        message = f"{mail}: the server did not take the mail within {mail.timeout_seconds:g} s; it may have been sent"
        raise EmailTimeoutError(message, retryable=True) from None


async def email_of_a_service(data: Any, ctx: StepContext) -> dict[str, Any]:
    """The same for workers that run what others have written: secrets are only sent where it is said they may be."""
    return await email(data, ctx, bound=True)


class _Mail:
    """What to send, and by which server.

    Attributes:
        login: User name and password; None where nobody logs in.
        recipients: Addresses that the server is given, copies included.
    """

    def __init__(self, settings: Settings, secrets: SecretValues, ctx: StepContext) -> None:
        self._settings = settings
        self._secrets = secrets
        self.host = settings.text("host")
        if not _HOST.fullmatch(self.host):
            raise settings.wrong("host", "is no host", "It looks like smtp.example.com.")
        self.security = settings.choice("security", PORTS, "starttls")
        self.port = settings.integer("port", PORTS[self.security], 1, 65_535)
        self.timeout_seconds = read_timeout(settings, ctx, TIMEOUT_SECONDS)
        self.login = self._login()
        self.sender = self._address("sender", settings.text("sender"))
        groups = {key: self._addresses(key) for key in ("to", "cc", "bcc") if key in settings or key == "to"}
        self.recipients = list(dict.fromkeys(one.addr_spec for group in groups.values() for one in group))
        self.message = self._message(groups, ctx)
        # An address in brackets, as URLs write IPv6.
        host = f"[{self.host}]" if ":" in self.host else self.host
        secrets.check_hosts(httpx.URL(f"smtp://{host}:{self.port}"))

    def __str__(self) -> str:
        return f"mail by {self.host}:{self.port}"

    def hide(self, text: str) -> str:
        """A text of the server, without secrets and not too long."""
        return shorten(Hider(frozenset(self._secrets.forms)).text(text.replace("\0", "")), _SHOWN)

    def _login(self) -> tuple[str, str] | None:
        settings = self._settings
        if "username" not in settings and "password" not in settings:
            return None
        if self.security == "none":
            raise settings.wrong("security", "a password is not sent over a connection that is not secured")
        username, password = (self._text_or_secret(key) for key in ("username", "password"))
        self._secrets.keep(password)
        return username, password

    def _text_or_secret(self, key: str) -> str:
        value = self._settings.get(key)
        return self._secrets.value(key, value) if isinstance(value, dict) else self._settings.text(key)

    def _addresses(self, key: str) -> list[Address]:
        return [self._address(key, text) for text in self._settings.texts(key)]

    def _address(self, key: str, text: str) -> Address:
        name, address = parseaddr(text)
        try:
            found = Address(display_name=name, addr_spec=address)
        except (ValueError, IndexError, MessageError):
            found = Address()
        if not found.username or not found.domain or _BREAKS.search(text):
            raise self._settings.wrong(key, "is no address", "It looks like Ann <ann@example.com>.")
        return found

    def _message(self, groups: dict[str, list[Address]], ctx: StepContext) -> EmailMessage:
        settings, message = self._settings, EmailMessage(policy=SMTP)
        subject = settings.text("subject")
        if _BREAKS.search(subject):
            raise settings.wrong("subject", "has line breaks, which no header can have")
        message["Subject"] = subject
        message["From"] = self.sender
        for key, header in (("to", "To"), ("cc", "Cc")):
            if groups.get(key):
                message[header] = groups[key]
        if "reply_to" in settings:
            message["Reply-To"] = self._address("reply_to", settings.text("reply_to"))
        key = hashlib.sha256(ctx.idempotency_key.encode(errors="replace")).hexdigest()[:32]
        message["Message-ID"] = f"<{key}@{self.sender.domain}>"
        message["Date"] = formatdate()
        if "text" in settings:
            message.set_content(settings.text("text"))
            if "html" in settings:
                message.add_alternative(settings.text("html"), subtype="html")
        elif "html" in settings:
            message.set_content(settings.text("html"), subtype="html")
        else:
            raise settings.wrong("text", "is missing", "Give the mail as text, as html, or as both.")
        return message


async def _send(mail: _Mail) -> dict[str, Any]:
    try:
        import aiosmtplib  # noqa: PLC0415 - an extra, and few definitions have such a step
    except ImportError:
        raise EmailSettingsError(
            "aiosmtplib is not installed where this worker runs", remedy="Install stepwell[email] there."
        ) from None
    addresses = await AllowList.from_environment().addresses(mail.host, mail.port, str(mail))
    with _explained(mail, aiosmtplib):
        connection = await _connect(addresses, mail.port)
        with contextlib.closing(connection):
            client = aiosmtplib.SMTP(
                hostname=mail.host,  # for TLS: the certificate is the name's
                sock=connection,
                use_tls=mail.security == "tls",
                start_tls=mail.security == "starttls",
                tls_context=None if mail.security == "none" else ssl.create_default_context(),
                timeout=mail.timeout_seconds,
            )
            async with client:
                if mail.login is not None:
                    await client.login(*mail.login)
                refused, _ = await client.send_message(
                    mail.message, sender=mail.sender.addr_spec, recipients=mail.recipients
                )
    told = {address: mail.hide(f"{code} {text}") for address, (code, text) in refused.items()}
    return {
        "message_id": mail.message["Message-ID"],
        "accepted": [address for address in mail.recipients if address not in told],
        "refused": told,
    }


async def _connect(addresses: list[str], port: int) -> socket.socket:
    """A connection to the first address that takes one."""
    loop, last = asyncio.get_running_loop(), OSError("there is no address")
    for address in addresses:
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, (address, port))
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last


@contextlib.contextmanager
def _explained(mail: _Mail, library: Any) -> Iterator[None]:
    """Turn the library's errors into ours. None of theirs is kept as a cause: some quote what was sent."""
    try:
        yield
    except library.SMTPRecipientsRefused as error:
        first = error.recipients[0]
        message = f"{mail}: no recipient is accepted: {first.code} {mail.hide(first.message)}"
        raise EmailRefusedError(message, status=first.code) from None
    except library.SMTPTimeoutError:
        raise EmailTimeoutError(f"{mail}: no answer in time; it may have been sent", retryable=True) from None
    except library.SMTPResponseException as error:
        message = f"{mail}: {error.code} {mail.hide(error.message)}"
        raise EmailRefusedError(message, status=error.code) from None
    except ssl.SSLCertVerificationError as error:
        message = f"{mail}: the server's certificate is not valid: {error.verify_message}"
        remedy = "If its authority is your own, name a file with it in SSL_CERT_FILE."
        raise EmailConnectionError(message, remedy=remedy) from None
    except library.SMTPException as error:
        raise EmailConnectionError(f"{mail}: {mail.hide(str(error))}", retryable=True) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise EmailConnectionError(f"{mail}: {mail.hide(why)}", retryable=True) from None
