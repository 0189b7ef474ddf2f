"""The built-in step types, for workflows that are written in Python: each call is a step, and returns its result.

Called in a function under ``@stepwell.workflow``; every one takes the options of ``StepOptions`` besides. An argument
may be, or hold, the result of another step. Settings have the names that they have in ``config``, but where an option
of every step has the same: the setting's name is longer then.
"""

# Written by `just generate` from the declarations in stepwell/step_types. Change those, not this file.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack, cast

from stepwell.builder.built_in import add_step
from stepwell.builder.recording import StepOptions
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


def agent_task(
    agent_id: str,
    data: Any = None,
    **options: Unpack[StepOptions],
) -> Any:
    """Let the agent that serves the queue ``agent_id`` do something, with what ``config`` and ``data`` say.

    Args:
        agent_id: The agent that does it; by default the step's queue.
        data: The step's input.
    """
    given = {
        "agent_id": agent_id,
        "data": data,
    }
    return add_step("agent_task", given, options)


def approval_gate(
    title: str | None = None,
    *,
    approvers: Sequence[str] | str | None = None,
    required: int | None = None,
    message: str | None = None,
    deadline_seconds: float | None = None,
    on_timeout: Literal["approve", "reject", "fail", "escalate"] | None = None,
    escalate_to: Sequence[Sequence[str] | str] | None = None,
    on_reject: Literal["fail", "continue"] | None = None,
    **options: Unpack[StepOptions],
) -> Approval:
    """Wait for people to decide.

    Args:
        title: What is to be decided, in a line.
        approvers: Who may decide; nobody named means anybody.
        required: How many must approve; 1 by default.
        message: The same at length.
        deadline_seconds: How long each level has to decide.
        on_timeout: What happens then; escalate asks escalate_to.
        escalate_to: Who decides next; a list of lists for several levels.
        on_reject: continue makes a rejection the step's output; otherwise it fails the step.
    """
    given = {
        "title": title,
        "approvers": approvers,
        "required": required,
        "message": message,
        "deadline_seconds": deadline_seconds,
        "on_timeout": on_timeout,
        "escalate_to": escalate_to,
        "on_reject": on_reject,
    }
    return cast(Approval, add_step("approval_gate", given, options))


def condition_check(
    check: Any,
    **options: Unpack[StepOptions],
) -> Check:
    """Evaluate a condition once, so that several steps can depend on it.

    Args:
        check: An expression; the output's `result` says whether it holds.
    """
    given = {
        "check": check,
    }
    return cast(Check, add_step("condition_check", given, options))


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
        host: The SMTP server.
        sender: Whom it is from: an address, or Name <address>.
        to: Whom it is for: an address, or a list of them.
        subject: What it is about, in a line.
        text: The mail, as text.
        html: The same as HTML; with text beside it, readers choose.
        cc: Who gets a copy.
        bcc: Who gets a copy that nobody sees.
        reply_to: Where answers go; by default to the sender.
        port: 587 by default; 465 with tls, 25 with none.
        security: starttls, tls from the start, or none; starttls by default.
        username: Who logs in; {secret: NAME} for a secret.
        password: With what; {secret: NAME} for a secret.
        request_timeout_seconds: For everything together; 30 by default.
    """
    given = {
        "host": host,
        "sender": sender,
        "to": to,
        "subject": subject,
        "text": text,
        "html": html,
        "cc": cc,
        "bcc": bcc,
        "reply_to": reply_to,
        "port": port,
        "security": security,
        "username": username,
        "password": password,
        "request_timeout_seconds": request_timeout_seconds,
    }
    return cast(Sent, add_step("email", given, options))


def file_operation(
    operation: Literal["read", "write", "copy", "move", "list", "checksum"],
    path: str,
    *,
    to: str | None = None,
    content: Any = None,
    format: Literal["text", "json", "base64"] | None = None,
    encoding: str | None = None,
    pattern: str | None = None,
    recursive: bool | None = None,
    algorithm: str | None = None,
    overwrite: bool | None = None,
    make_dirs: bool | None = None,
    **options: Unpack[StepOptions],
) -> Any:
    """Work on files, in the directories that the worker allows.

    Args:
        operation: What is done: read, write, copy, move, list or checksum.
        path: The file, or the directory.
        to: Where it is copied or moved to.
        content: What is written.
        format: text, json, or base64 for any bytes; by default text, or json to write what is none.
        encoding: Of text and JSON; utf-8 by default.
        pattern: Names that are listed, such as *.csv; * by default.
        recursive: Whether directories below are listed, too.
        algorithm: Of the checksum: sha256, sha512, sha1, md5, blake2b; sha256 by default.
        overwrite: Whether a file that is there may be replaced.
        make_dirs: Whether missing directories are made.
    """
    given = {
        "operation": operation,
        "path": path,
        "to": to,
        "content": content,
        "format": format,
        "encoding": encoding,
        "pattern": pattern,
        "recursive": recursive,
        "algorithm": algorithm,
        "overwrite": overwrite,
        "make_dirs": make_dirs,
    }
    return add_step("file_operation", given, options)


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
    request_timeout_seconds: float | None = None,
    auth: Mapping[str, Any] | None = None,
    expect: Any = None,
    response: str | None = None,
    max_response_bytes: int | None = None,
    **options: Unpack[StepOptions],
) -> HttpAnswer:
    """Make one HTTP request; a method other than GET by ``method``.

    Args:
        url: http:// or https://
        method: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE; GET by default.
        headers: Headers of the request.
        query: Parameters of the URL.
        params: The same as query.
        json: The body, as JSON.
        form: The body, as the fields of a form.
        body: The body, as text.
        request_timeout_seconds: For everything together; 30 by default.
        auth: {bearer: …} or {basic: {username: …, password: …}}; {secret: NAME} for a secret.
        expect: Statuses that are no failure: 200, "200-204", "2xx", or a list.
        response: How the answer is read: auto, json or text.
        max_response_bytes: The longest answer.
    """
    given = {
        "url": url,
        "method": method,
        "headers": headers,
        "query": query,
        "params": params,
        "json": json,
        "form": form,
        "body": body,
        "request_timeout_seconds": request_timeout_seconds,
        "auth": auth,
        "expect": expect,
        "response": response,
        "max_response_bytes": max_response_bytes,
    }
    return cast(HttpAnswer, add_step("http_request", given, options))


def input(
    data: Mapping[str, Any] | None = None,
    *,
    schema: Mapping[str, Any] | None = None,
    required: Sequence[str] | str | None = None,
    **options: Unpack[StepOptions],
) -> Any:
    """Give the workflow's input, with ``data`` laid over it, as a step of its own.

    Args:
        data: Laid over the workflow's input.
        schema: JSON Schema that the result must fit.
        required: Keys that the result must have.
    """
    given = {
        "data": data,
        "schema": schema,
        "required": required,
    }
    return add_step("input", given, options)


def llm(
    prompt: str | None = None,
    *,
    system: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    schema: Mapping[str, Any] | None = None,
    request_timeout_seconds: float | None = None,
    include_input: bool | None = None,
    **options: Unpack[StepOptions],
) -> LlmAnswer:
    """Ask a language model; with a ``schema``, for data.

    Args:
        prompt: What is asked.
        system: What the model is told before everything else.
        messages: A conversation: role and content of each message.
        model: The model's name.
        temperature: 0 for the likeliest words; more for more varied ones.
        max_tokens: The longest answer, in tokens.
        schema: JSON Schema of the answer, where it is to be data.
        request_timeout_seconds: For one answer.
        include_input: Whether the model sees the step's input; by default, where no text for it holds a template.
    """
    given = {
        "prompt": prompt,
        "system": system,
        "messages": messages,
        "model": model,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "schema": schema,
        "request_timeout_seconds": request_timeout_seconds,
        "include_input": include_input,
    }
    return cast(LlmAnswer, add_step("llm", given, options))


def output(
    data: Any,
    **options: Unpack[StepOptions],
) -> Any:
    """Name what the workflow returns; the same as returning it from the workflow function.

    Args:
        data: The step's input.
    """
    given = {
        "data": data,
    }
    return add_step("output", given, options)


def process(
    data: Any,
    rules: Sequence[Mapping[str, Any]],
    **options: Unpack[StepOptions],
) -> Any:
    """Change data by rules: transform, filter, sort, group, join and others.

    Args:
        data: The step's input.
        rules: What is done to the data, rule after rule.
    """
    given = {
        "data": data,
        "rules": rules,
    }
    return add_step("process", given, options)


def wait(
    seconds: float,
    data: Any = None,
    **options: Unpack[StepOptions],
) -> Any:
    """Let some time pass, and return ``data``.

    Args:
        seconds: How long, in seconds; it survives restarts.
        data: The step's input.
    """
    given = {
        "seconds": seconds,
        "data": data,
    }
    return add_step("wait", given, options)


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

    Args:
        workflow: Name of the workflow to start.
        data: Its input; the step's own by default.
        version: Its version; the active one registered last by default.
        wait: Whether the step lasts until the other workflow has finished.
        on_child_failure: continue makes the other's failure the step's output.
        priority: 0 to 100; the parent's by default.
    """
    given = {
        "workflow": workflow,
        "data": data,
        "version": version,
        "wait": wait,
        "on_child_failure": on_child_failure,
        "priority": priority,
    }
    return cast(Triggered, add_step("workflow_trigger", given, options))
