"""``llm``: asks a language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind
from stepwell.core.plan.step_configs import has_template
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import (
    NUMBER_OF_SECONDS,
    Check,
    flag,
    literal_of,
    number,
    problems_of,
    schema_problems,
    text,
)

MESSAGE_ROLES: Final = ("system", "user", "assistant")
MOST_TEMPERATURE: Final = 2.0
MOST_TOKENS: Final = 10_000_000
_SHOWN: Final = ("prompt", "system", "messages")


class LlmConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``llm`` step."""

    prompt: Annotated[
        str | None, Setting("What is asked, as the last message. It may be missing where there are `messages`.")
    ] = None
    system: Annotated[str | None, Setting("The first message: what the model is told before everything else.")] = None
    messages: Annotated[
        list[dict[str, Any]] | None,
        Setting("A list of `{role, content}` between both; roles are `system`, `user`, `assistant`."),
    ] = None
    model: Annotated[
        str | None, Setting("The model's name, as its service has it.", default="`STEPWELL_LLM_MODEL`")
    ] = None
    temperature: Annotated[
        float | None,
        Setting(
            "How varied the words are: 0 for the likeliest words, up to 2 for more varied ones.",
            default="the service's",
        ),
    ] = None
    max_tokens: Annotated[int | None, Setting("The longest answer, in tokens.", default="the service's")] = None
    schema: Annotated[dict[str, Any] | None, Setting("A JSON Schema; the answer is then JSON that fits it.")] = None
    timeout_seconds: Annotated[
        float | None,
        Setting(
            "How long one answer may take; never more than the step's.",
            default="120",
            schema=NUMBER_OF_SECONDS,
            parameter="request_timeout_seconds",
        ),
    ] = None
    include_input: Annotated[
        bool | None,
        Setting(
            "Whether the model sees the step's input, as JSON after the prompt.",
            default="where neither `prompt`, `system` nor `messages` holds a template",
        ),
    ] = None


class LlmAnswer(Struct, frozen=True):
    """What ``llm`` gives.

    Attributes:
        response: The text, or data where a schema was given.
    """

    response: Any
    model: str
    usage: dict[str, Any]
    finish_reason: str


def _check(config: Mapping[str, Any], at: str, schemas: Meter | None) -> Iterator[str]:
    literal = literal_of(config)
    if "prompt" not in config and "messages" not in config:
        yield f'{at}: type "llm" needs "prompt" or "messages"'
    yield from problems_of(_CHECKS, literal, at)
    yield from _messages(literal.get("messages", []), f"{at}.messages")
    if "schema" in literal:
        yield from schema_problems(literal["schema"], f"{at}.schema", schemas)


def _messages(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: a list of messages is needed, not {kind(value)}"
        return
    for position, message in enumerate(value):
        place = f"{at}[{position}]"
        if not isinstance(message, dict):
            yield f"{place}: a mapping with role and content is needed, not {kind(message)}"
            continue
        for key in message:
            if key not in ("role", "content"):
                yield f'{place}: unknown key "{key}"; there are role, content'
        role = message.get("role")
        if not isinstance(role, str) or role not in MESSAGE_ROLES:
            yield f"{place}.role: one of {', '.join(MESSAGE_ROLES)} is needed"
        if not isinstance(message.get("content"), str):
            yield f"{place}.content: a text is needed, not {kind(message.get('content'))}"


def _planned(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A step whose texts have no template shows its input to the model, unless it says otherwise: it could see
    nothing else. The worker gets texts that are filled in, and cannot tell; so it is told.
    """
    if "prompt" in config and "include_input" not in config:
        return {**config, "include_input": not any(has_template(config.get(key)) for key in _SHOWN)}
    return config


_CHECKS: Final[Mapping[str, Check]] = {
    "prompt": text,
    "system": text,
    "model": text,
    "temperature": number(0, MOST_TEMPERATURE),
    "max_tokens": number(1, MOST_TOKENS, whole=True),
    "timeout_seconds": number(0, LONGEST_SECONDS, above=True),
    "include_input": flag,
}

TYPE: Final = StepType(
    name="llm",
    config=LlmConfig,
    result=LlmAnswer,
    aliases=("llm_service", "ai"),
    check=_check,
    unknown_keys_last=True,
    planned=_planned,
    runs="llm:llm",
    text="Ask a language model; with a `schema`, for data.",
    takes="shown to the model where no template is",
    gives="the model's answer",
    call=Call(positional=("prompt",)),
)
