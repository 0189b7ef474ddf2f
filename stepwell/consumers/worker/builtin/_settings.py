"""Reading a step's settings: each value checked where it is read, each mistake named by its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.values import kind
from stepwell.errors import StepwellError
from stepwell.suggest import suggest


class Settings:
    """A mapping of settings, such as a step's ``config`` or one of its rules.

    Args:
        values: What was written.
        place: Where, such as ``rules[2]``.
        known: Every key that it may have.
        error: The class of what is raised for a mistake.

    Raises:
        StepwellError: It is no mapping, or has a key that is not known.
    """

    def __init__(self, values: Any, place: str, known: Iterable[str], error: type[StepwellError]) -> None:
        self.place = place
        self._error = error
        if not isinstance(values, Mapping):
            raise error(f"a mapping is needed, not {kind(values)}", place=place)
        self.values: Mapping[str, Any] = values
        known = tuple(known)
        for key in values:
            if key not in known:
                raise error(
                    f'unknown setting "{key}"{suggest(str(key), known)}',
                    place=place,
                    remedy=f"There are: {', '.join(known)}.",
                )

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def at(self, key: str) -> str:
        """The place of a key."""
        return f"{self.place}.{key}" if self.place else key

    def wrong(self, key: str, message: str, remedy: str = "") -> StepwellError:
        """The error for what stands under a key."""
        return self._error(message, place=self.at(key), remedy=remedy)

    def get(self, key: str) -> Any:
        """What stands under a key that must be there."""
        if key not in self.values:
            raise self.wrong(key, "is missing")
        return self.values[key]

    def text(self, key: str, default: str | None = None) -> str:
        """A text; needed if there is no default."""
        value = self.get(key) if default is None else self.values.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, f"a text is needed, not {kind(value)}")
        return value

    def texts(self, key: str) -> list[str]:
        """One text or a list of texts, as a list that is not empty."""
        value = self.get(key)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(text, str) for text in texts):
            raise self.wrong(key, "a text or a list of texts is needed")
        return list(texts)

    def flag(self, key: str) -> bool:
        """A truth value, false by default."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"true or false is needed, not {kind(value)}")
        return value

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least:,} to {most:,} is needed")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of some texts; needed if there is no default."""
        value = self.text(key, default)
        choices = tuple(choices)
        if value not in choices:
            remedy = f"There are: {', '.join(choices)}."
            raise self.wrong(key, f'unknown {key} "{value}"{suggest(value, choices)}', remedy)
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A mapping that must be there."""
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"a mapping is needed, not {kind(value)}")
        return value


def read_timeout(settings: Settings, ctx: StepContext, default: float) -> float:
    """The seconds that a request may take: ``timeout_seconds``, and never more than the step's."""
    value = settings.values.get("timeout_seconds", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise settings.wrong("timeout_seconds", "a number of seconds above 0 is needed")
    return min(float(value), ctx.timeout_seconds or float("inf"))
