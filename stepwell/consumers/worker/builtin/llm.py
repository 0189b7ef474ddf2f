"""The ``llm`` step: one question to a language model, by any service that speaks OpenAI's chat completions.

``config``
    - ``prompt``: what is asked; ``system``: before everything; ``messages``: ``[{role, content}]``, between both;
    - ``include_input``: show the step's input to the model, as JSON after the prompt. By default so where ``prompt``,
      ``system`` and ``messages`` hold no template, since the model could see nothing else;
    - ``model``: by default ``STEPWELL_LLM_MODEL``; ``temperature``; ``max_tokens``;
    - ``schema``: a JSON Schema; the answer is then JSON that fits it, or the step fails;
    - ``timeout_seconds`` (120, and never more than the step's).

The service is the one of ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` in the worker's environment. With a key alone it
is OpenAI's own. Whoever starts the worker chooses it, so it may be on this machine or in a private network; nothing
that a definition says can change it. Redirects are not followed: the key would go with them.

The result is ``{response, model, usage, finish_reason}``. Where no service is configured, nothing is made up.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepwell.consumers.worker.builtin._http_call import (
    HEADER_VALUE,
    MAX_RESPONSE_BYTES,
    Call,
    HTTPStatusError,
    idempotency_key,
    read_url,
    standard_headers,
)
from stepwell.consumers.worker.builtin._settings import Settings, read_timeout
from stepwell.consumers.worker.builtin._validation import schema_check
from stepwell.consumers.worker.builtin.addresses import AllowList
from stepwell.consumers.worker.builtin.http import send
from stepwell.consumers.worker.builtin.secrets import Hider, forms_of
from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind, plain, shorten
from stepwell.errors import ExpressionError, StepwellError
from stepwell.step_types.llm import MESSAGE_ROLES, MOST_TEMPERATURE, MOST_TOKENS, TYPE

BASE_URL: Final = "OPENAI_BASE_URL"
API_KEY: Final = "OPENAI_API_KEY"
MODEL: Final = "STEPWELL_LLM_MODEL"
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
TIMEOUT_SECONDS: Final = 120.0  # models think for longer than other services
_SHORTEST_KEY: Final = 12  # characters
_SHOWN: Final = 200  # characters of an answer of no use
_USAGE_DEPTH: Final = 2
_CHECK_ADDRESS: Final = f"If it is always so, check {BASE_URL} in the environment of the worker."


class LLMError(StepwellError):
    """A model did not give what was asked for."""

    retryable = False


class LLMNotConfigured(LLMError):  # noqa: N818 - a kind of error that retry policies know
    """No service or no model is configured. Not retryable."""


class LLMSettingsError(LLMError):
    """The settings of the step are wrong; ``place`` says which. Not retryable."""


class LLMRefusedError(LLMError):
    """The model, or its service, refused to answer. Not retryable."""


class LLMTruncatedError(LLMError):
    """The answer was to be JSON, and broke off at ``max_tokens``. Not retryable."""


class LLMAnswerError(LLMError):
    """The answer is no chat completion, or does not fit ``schema``. Retryable: models answer differently."""

    retryable = True


async def llm(data: Any, ctx: StepContext) -> dict[str, Any]:
    """Run an ``llm`` step.

    Args:
        data: The step's input; the model sees it where ``include_input`` says so.
        ctx: ``config`` says what to ask, see above.

    Raises:
        LLMNotConfigured: No service or no model is configured.
        LLMSettingsError: ``config`` is wrong.
        LLMRefusedError: The model refused.
        LLMTruncatedError: A structured answer broke off.
        LLMAnswerError: The answer is of no use.
        HTTPRequestError: The service could not be asked, or said no; see ``http_request``.
    """
    settings = Settings(ctx.config, "config", TYPE.keys, LLMSettingsError)
    check = schema_check(settings) if "schema" in settings else None
    body = _body(settings, data)
    call = _call(settings, ctx, body)
    try:
        # The operator has named this host, so it is allowed wherever it is: this one, and no other.
        answer = await send(call, AllowList(call.url.raw_host.decode("ascii")), redirects=0)
    except HTTPStatusError as error:
        if error.status in (401, 403):  # services quote parts of the key
            message = f"{call}: status {error.status}: the service does not accept the key"
            remedy = f"Check {API_KEY} and {BASE_URL} in the environment of the worker."
            raise HTTPStatusError(message, status=error.status, url=error.url, remedy=remedy) from None
        raise
    result = _result(call, _decoded(call, answer["response"]), body["model"])
    if check is not None:
        result["response"] = _structured(call, result)
        problems = list(check(result["response"], "", Meter()))
        if problems:
            raise LLMAnswerError(f"{call}: the answer does not fit the schema: {'; '.join(problems[:5])}")
    return result


# -- Asking --


def _call(settings: Settings, ctx: StepContext, body: Mapping[str, Any]) -> Call:
    key, base = os.environ.get(API_KEY, "").strip(), os.environ.get(BASE_URL, "").strip()
    if not key and not base:
        raise LLMNotConfigured(
            "no language model is configured",
            remedy=f"Start the worker with {BASE_URL} (any service that speaks OpenAI's chat completions, such as "
            f"http://localhost:11434/v1) or {API_KEY} in its environment.",
        )
    if not HEADER_VALUE.fullmatch(key):
        raise LLMNotConfigured("holds characters that no header can", place=API_KEY)
    try:
        url = read_url(f"{(base or DEFAULT_BASE_URL).rstrip('/')}/chat/completions")
    except ValueError as error:
        raise LLMNotConfigured(str(error), place=BASE_URL, remedy="It looks like https://example.com/v1.") from None
    if url.userinfo or url.query or url.fragment:
        raise LLMNotConfigured("takes no user name, query or fragment", place=BASE_URL)
    headers = {
        **standard_headers(),
        "content-type": "application/json",
        "idempotency-key": idempotency_key(ctx),
        **({"authorization": f"Bearer {key}"} if key else {}),
    }
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    except (ValueError, TypeError, RecursionError) as error:
        raise settings.wrong("prompt", f"cannot be written as JSON: {type(error).__name__}") from None
    return Call(
        method="POST",
        url=url,
        headers=headers,
        body=content,
        confidential=False,
        timeout_seconds=read_timeout(settings, ctx, TIMEOUT_SECONDS),
        expected=((200, 299),),
        response="text",  # an answer that is no JSON is a bad answer here, and may be better the next time
        max_response_bytes=MAX_RESPONSE_BYTES,
        secrets=forms_of(key),
    )


def _body(settings: Settings, data: Any) -> dict[str, Any]:
    model = settings.text("model", "") or os.environ.get(MODEL, "").strip()
    messages = _messages(settings, data)
    if not model:
        raise LLMNotConfigured(
            "no model is named",
            place=settings.at("model"),
            remedy=f"Name one there, or start the worker with {MODEL} in its environment.",
        )
    body: dict[str, Any] = {"model": model, "messages": messages}
    if "temperature" in settings:
        value = settings.get("temperature")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST_TEMPERATURE:
            raise settings.wrong("temperature", f"a number from 0 to {MOST_TEMPERATURE:g} is needed")
        body["temperature"] = value
    if "max_tokens" in settings:
        body["max_tokens"] = settings.integer("max_tokens", 1, 1, MOST_TOKENS)
    if "schema" in settings:
        wanted = {"name": "answer", "schema": dict(settings.mapping("schema"))}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return body


def _words(settings: Settings, key: str) -> str:
    """A text for a model: a template alone may have yielded data, which is shown as JSON."""
    value = settings.get(key)
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, int, float)) else settings.text(key)
    )


def _messages(settings: Settings, data: Any) -> list[dict[str, str]]:
    messages = []
    if "system" in settings:
        messages.append({"role": "system", "content": _words(settings, "system")})
    written = settings.values.get("messages", ())
    if not isinstance(written, (list, tuple)):
        raise settings.wrong("messages", f"a list of messages is needed, not {kind(written)}")
    for number, message in enumerate(written):
        part = Settings(message, settings.at(f"messages[{number}]"), ("role", "content"), LLMSettingsError)
        messages.append({"role": part.choice("role", MESSAGE_ROLES), "content": part.text("content")})
    asked = [_words(settings, "prompt")] if "prompt" in settings else []
    if not asked and not written:
        raise settings.wrong("prompt", "is missing", "Say what to ask, as prompt or as messages.")
    if settings.flag("include_input") and data not in (None, {}, [], ""):
        asked.append(f"Input, as JSON:\n{msgspec.json.encode(data).decode()}")
    if asked:
        messages.append({"role": "user", "content": "\n\n".join(asked)})
    return messages


# -- Reading --


def _hidden(call: Call, value: Any) -> Any:
    """JSON that does not quote the key. What is shorter ("none") stands in for one, and is no secret."""
    return Hider(call.secrets).value(value) if min(map(len, call.secrets), default=0) >= _SHORTEST_KEY else value


def _decoded(call: Call, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        shown = shorten(_hidden(call, text).strip(), _SHOWN) or "nothing"
        raise LLMAnswerError(f"{call}: the answer is no JSON: {shown}", remedy=_CHECK_ADDRESS) from None


def _result(call: Call, answer: Any, model: str) -> dict[str, Any]:
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        refusal, content = message.get("refusal"), message.get("content")
    except (TypeError, KeyError, IndexError, AttributeError):
        shown = shorten(_hidden(call, _as_json(answer)), _SHOWN)
        raise LLMAnswerError(f"{call}: the answer is no chat completion: {shown}", remedy=_CHECK_ADDRESS) from None
    reason = choice.get("finish_reason")
    if refusal or reason == "content_filter":
        said = shorten(_hidden(call, refusal), 500) if isinstance(refusal, str) else ""
        by = "its service's content filter" if reason == "content_filter" else "it gave no reason"
        raise LLMRefusedError(f"{call}: the model refused: {said or by}")
    if not isinstance(content, str):
        raise LLMAnswerError(f"{call}: the answer holds {kind(content)} instead of a text")
    named = answer.get("model")
    return {
        "response": _hidden(call, content),
        "model": _hidden(call, named) if isinstance(named, str) else model,
        "usage": _counts(answer.get("usage")),
        "finish_reason": _hidden(call, reason) if isinstance(reason, str) else None,
    }


def _as_json(answer: Any) -> str:
    try:
        return msgspec.json.encode(answer).decode()
    except RecursionError:
        return "lists and mappings without end"


def _counts(usage: Any, depth: int = 0) -> dict[str, Any]:
    """The numbers of a ``usage``, which some services sort into groups; whatever else it holds is left out."""
    counts: dict[str, Any] = {}
    for name, value in usage.items() if isinstance(usage, dict) else ():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            counts[name] = value
        elif isinstance(value, dict) and depth < _USAGE_DEPTH:
            counts[name] = _counts(value, depth + 1)
    return counts


def _structured(call: Call, result: Mapping[str, Any]) -> Any:
    text = result["response"]
    fenced = _FENCE.fullmatch(text.strip())
    try:
        return _hidden(call, plain(msgspec.json.decode(fenced[1] if fenced else text)))
    except ExpressionError as error:
        raise LLMAnswerError(f"{call}: the answer is of no use: {error.message}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        if result["finish_reason"] == "length":
            raise LLMTruncatedError(
                f"{call}: the answer breaks off, so it is no JSON", remedy="Raise max_tokens, or ask for less."
            ) from None
        raise LLMAnswerError(f"{call}: the answer is no JSON ({error}): {shorten(text, _SHOWN)}") from None


_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)  # how models set off code from prose
