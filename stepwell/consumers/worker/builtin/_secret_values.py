"""Secrets that a step's settings name: their values from the environment, and where each may be sent.

Secrets stand in the environment of the worker, not in definitions: ``{secret: NAME}`` is the value of
``STEPWELL_SECRET_NAME``, and only the reference is in the log. ``STEPWELL_SECRET_NAME_HOSTS`` says where it may be
sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from stepwell.consumers.worker.builtin._settings import Settings
from stepwell.consumers.worker.builtin.secrets import HOSTS_SUFFIX, SECRET_PREFIX, forms_of, hosts_variable, may_go
from stepwell.errors import StepwellError
from stepwell.logs import Logger

_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_logger = Logger("stepwell.http")
_told: set[str] = set()  # secrets of which it was told that they may be sent anywhere


class SecretValues:
    """The secrets that the settings of one step name.

    Args:
        settings: The step's.
        environment: Where secrets are.
        bound: Whether a secret is only sent where the environment says that it may be.
        error: The class of what is raised for a mistake.

    Attributes:
        forms: What must not be shown, in each form that a server may give it back in.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], *, bound: bool, error: type[StepwellError]
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._bound = bound
        self._error = error
        self._named: dict[str, str] = {}
        self.forms: set[str] = set()

    def value(self, key: str, written: Mapping[str, Any]) -> str:
        """The value of ``{secret: NAME}`` under a key.

        Raises:
            StepwellError: There is none, or its name is no secret's.
        """
        settings = self._settings
        name = Settings(written, settings.at(key), ("secret",), self._error).text("secret")
        variable = f"{SECRET_PREFIX}{name}"
        if not _NAME.fullmatch(name):
            raise settings.wrong(key, "a secret's name has letters, digits and underscores only")
        if name.endswith(HOSTS_SUFFIX):
            raise settings.wrong(key, f"is no secret: {variable} says where another one may be sent")
        value = self._environment.get(variable)
        if not value:
            raise settings.wrong(
                key, f'there is no secret "{name}"', f"Start the worker with {variable} in its environment."
            )
        self.keep(value)
        self._named[name] = key
        return value

    def keep(self, secret: str) -> None:
        """Never show this, in whatever form a server may give it back."""
        self.forms |= forms_of(secret)

    def check_hosts(self, url: httpx.URL) -> None:
        """Check that each secret that is named may be sent where the step connects to.

        Raises:
            StepwellError: One may not, or it is not said where it may.
        """
        for name, key in self._named.items():
            variable = hosts_variable(name)
            hosts = self._environment.get(variable, "").strip()
            if not hosts and not self._bound:
                if name not in _told:
                    _told.add(name)
                    _logger.warning(
                        "a secret may be sent to any host that a definition names", secret=name,
                        remedy=f"Say where it may be sent: {variable}={url.host}",
                    )  # fmt: skip
                continue
            try:
                fits = may_go(hosts, url)
            except ValueError as error:
                raise self._settings.wrong(key, f"{variable}: {error}", "It looks like api.example.com.") from None
            if not fits:
                raise self._settings.wrong(
                    key,
                    f'the secret "{name}" may not be sent to {url.host}'
                    if hosts
                    else f'it is not said to which hosts the secret "{name}" may be sent',
                    f"Start the worker with {variable}={url.host} in its environment, if that is meant.",
                )
