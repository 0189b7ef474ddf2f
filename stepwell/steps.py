"""The built-in step types, for workflows that are written in Python: each call is a step, and returns its result.

Called in a function under ``@stepwell.workflow``; every one takes the options of ``StepOptions`` besides. An argument
may be, or hold, the result of another step. Settings have the names that they have in ``config``, but where an option
of every step has the same: the declaration in ``stepwell.step_types`` then says the other name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack, cast

from stepwell.builder.recording import OPTIONS, StepOptions, needed
from stepwell.builder.references import source_of
from stepwell.consumers.worker.parameters import refuse_unknown
from stepwell.step_types.approval_gate import Approval
from stepwell.step_types.condition_check import Check
from stepwell.step_types.email import Sent
from stepwell.step_types.http_request import HttpAnswer
from stepwell.step_types.llm import LlmAnswer
from stepwell.step_types.workflow_trigger import Triggered

__all__ = [
    "Approval",
    "Check",
    "HttpAnswer",
    "LlmAnswer",
    "Sent",
    "Triggered",
    "agent_task",
    "approval_gate",
    "condition_check",
    "email",
    "file_operation",
    "http_request",
    "input",
    "llm",
    "output",
    "process",
    "wait",
    "workflow_trigger",
]


def _add(
    kind: str, options: StepOptions, hint: Any = None, *, data: Any = None, config: Mapping[str, Any] | None = None
) -> Any:
    own = list(inspect.signature(globals()[kind]).parameters)[:-1]  # without the options
    refuse_unknown(f"stepwell.steps.{kind}", (name for name in options if name not in OPTIONS), (*own, *OPTIONS))
    step: dict[str, Any] = {"type": kind}
    settings = {key: value for key, value in (config or {}).items() if value is not None}
    if settings:
        step["config"] = settings
    if data is not None:
        step["input"] = data
    return needed(f"stepwell.steps.{kind}").add(kind, step, options, hint)


def http_request(
    url: str,
    *,
    method: str | None = None,
    headers: Mapping[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    form: Mapping[str, Any] | None = None,
    body: str | None = None,
    auth: Mapping[str, Any] | None = None,
    expect: Any = None,
    response: str | None = None,
    max_response_bytes: int | None = None,
    request_timeout_seconds: float | None = None,
    **options: Unpack[StepOptions],
) -> HttpAnswer:
    """Make one HTTP request; a method other than GET by ``method``.

    Args:
        request_timeout_seconds: For the request; ``timeout_seconds`` is for the step's attempt.
    """
    config = {
        "url": url, "method": method, "headers": headers, "query": query, "params": params, "json": json,
        "form": form, "body": body,
        "auth": auth, "expect": expect, "response": response, "max_response_bytes": max_response_bytes,
        "timeout_seconds": request_timeout_seconds,
    }  # fmt: skip
    return cast(HttpAnswer, _add("http_request", options, HttpAnswer, config=config))


def llm(
    prompt: str | None = None,
    *,
    system: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    schema: Mapping[str, Any] | None = None,
    include_input: bool | None = None,
    request_timeout_seconds: float | None = None,
    **options: Unpack[StepOptions],
) -> LlmAnswer:
    """Ask a language model; with a ``schema``, for data.

    Args:
        include_input: Whether the model sees the step's input; by default, where no text for it holds a template.
        request_timeout_seconds: For one answer; ``timeout_seconds`` is for the step's attempt.
    """
    config = {
        "prompt": prompt, "system": system, "messages": messages, "model": model, "temperature": temperature,
        "max_tokens": max_tokens, "schema": schema, "include_input": include_input,
        "timeout_seconds": request_timeout_seconds,
    }  # fmt: skip
    return cast(LlmAnswer, _add("llm", options, LlmAnswer, config=config))


def email(
    host: str,
    *,
    sender: str,
    to: str | Sequence[str],
    subject: str,
    text: str | None = None,
    html: str | None = None,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | None = None,
    port: int | None = None,
    security: Literal["starttls", "tls", "none"] | None = None,
    username: str | Mapping[str, Any] | None = None,
    password: str | Mapping[str, Any] | None = None,
    request_timeout_seconds: float | None = None,
    **options: Unpack[StepOptions],
) -> Sent:
    """Send a mail by an SMTP server, as text, as HTML, or as both.

    Args:
        password: Best ``{"secret": NAME}``; needs a connection that is secured.
        request_timeout_seconds: For everything together; ``timeout_seconds`` is for the step's attempt.
    """
    config = {
        "host": host, "sender": sender, "to": to, "subject": subject, "text": text, "html": html, "cc": cc,
        "bcc": bcc, "reply_to": reply_to, "port": port, "security": security, "username": username,
        "password": password, "timeout_seconds": request_timeout_seconds,
    }  # fmt: skip
    return cast(Sent, _add("email", options, Sent, config=config))


def file_operation(
    operation: Literal["read", "write", "copy", "move", "list", "checksum"],
    path: str,
    *,
    to: str | None = None,
    content: Any = None,
    format: Literal["text", "json", "base64"] | None = None,  # noqa: A002 - the setting's name
    encoding: str | None = None,
    pattern: str | None = None,
    recursive: bool | None = None,
    algorithm: str | None = None,
    overwrite: bool | None = None,
    make_dirs: bool | None = None,
    **options: Unpack[StepOptions],
) -> Any:
    """Work on files, in the directories that the worker allows."""
    config = {
        "operation": operation, "path": path, "to": to, "content": content, "format": format, "encoding": encoding,
        "pattern": pattern, "recursive": recursive, "algorithm": algorithm, "overwrite": overwrite,
        "make_dirs": make_dirs,
    }  # fmt: skip
    return _add("file_operation", options, config=config)


def agent_task(agent_id: str, data: Any = None, **options: Unpack[StepOptions]) -> Any:
    """Let the agent that serves the queue ``agent_id`` do something, with what ``config`` and ``data`` say."""
    given: StepOptions = {"queue": agent_id, **options}
    return _add("agent_task", given, data=data, config={"agent_id": agent_id})


def approval_gate(
    title: str | None = None,
    *,
    message: str | None = None,
    approvers: Sequence[str] | None = None,
    required: int | None = None,
    deadline_seconds: float | None = None,
    on_timeout: Literal["approve", "reject", "fail", "escalate"] | None = None,
    escalate_to: Sequence[str] | Sequence[Sequence[str]] | None = None,
    on_reject: Literal["fail", "continue"] | None = None,
    **options: Unpack[StepOptions],
) -> Approval:
    """Wait for people to decide.

    Args:
        approvers: Who may; anybody without it.
        required: How many must approve.
        deadline_seconds: How long they may take; then comes ``on_timeout``.
    """
    config = {
        "title": title, "message": message, "approvers": approvers, "required": required,
        "timeout_seconds": deadline_seconds, "on_timeout": on_timeout, "escalate_to": escalate_to,
        "on_reject": on_reject,
    }  # fmt: skip
    return cast(Approval, _add("approval_gate", options, Approval, config=config))


def input(  # noqa: A001 - the type's name
    data: Mapping[str, Any] | None = None,
    *,
    schema: Mapping[str, Any] | None = None,
    required: str | Sequence[str] | None = None,
    **options: Unpack[StepOptions],
) -> Any:
    """The workflow's input, with ``data`` laid over it, as a step of its own.

    Args:
        schema: JSON Schema that the result must fit.
        required: Fields that the result must have, as dotted paths.
    """
    return _add("input", options, config={"data": data, "schema": schema, "required": required})


def wait(seconds: float, data: Any = None, **options: Unpack[StepOptions]) -> Any:
    """Let some time pass, and return ``data``."""
    return _add("wait", options, data=data, config={"seconds": seconds})


def condition_check(check: Any, **options: Unpack[StepOptions]) -> Check:
    """Evaluate a condition once, so that several steps can depend on it."""
    return cast(Check, _add("condition_check", options, Check, config={"condition": source_of(check)}))


def process(data: Any, rules: Sequence[Mapping[str, Any]], **options: Unpack[StepOptions]) -> Any:
    """Change data by rules: transform, filter, sort, group, join and others."""
    return _add("process", options, data=data, config={"rules": rules})


def workflow_trigger(
    workflow: str,
    data: Any = None,
    *,
    version: str | None = None,
    wait: bool | None = None,
    on_child_failure: Literal["fail", "continue"] | None = None,
    priority: int | None = None,
    **options: Unpack[StepOptions],
) -> Triggered:
    """Start another workflow by name, and wait for it unless ``wait`` is false.

    A workflow that is written in Python can be called as a step is, and its types are checked then.
    """
    config = {
        "workflow": workflow, "version": version, "input": data, "wait": wait, "on_failure": on_child_failure,
        "priority": priority,
    }  # fmt: skip
    return cast(Triggered, _add("workflow_trigger", options, Triggered, config=config))


def output(data: Any, **options: Unpack[StepOptions]) -> Any:
    """Name what the workflow returns; the same as returning it from the workflow function."""
    return _add("output", options, data=data)
