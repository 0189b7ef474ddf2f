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
    """Let an agent's handler do a task, with what ``config`` and the step's input say.

    Args:
        agent_id: The agent that does it. Default: the step's ``queue``.
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
    """Wait until people approve or reject.

    Args:
        title: What is to be decided, in a line; what a template yields becomes text.
        approvers: Who may decide: names, or a template that yields them. Default: anybody.
        required: How many people must approve. One rejection is enough. Default: 1.
        message: What is to be decided, at length.
        deadline_seconds: How long people have to decide, at each level; then ``on_timeout`` happens.
        on_timeout: What happens after that time: ``approve``, ``reject``, ``fail``, or ``escalate``, which asks
            ``escalate_to``. Default: ``fail``.
        escalate_to: Who decides next: names, or a list of lists for several levels; after the last one the step
            fails.
        on_reject: ``continue`` makes a rejection the step's output, for conditions to look at; otherwise it fails the
            step. Default: ``fail``.
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
        check: An expression; ``result`` of the output says whether it holds.
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
        sender: Whom it is from: ``ann@example.com`` or ``Ann <ann@example.com>``.
        to: Whom it is for: an address, or a list of them.
        subject: What it is about: one line.
        text: The mail, as text. ``text`` or ``html`` is needed.
        html: The same as HTML; with ``text`` beside it, readers choose.
        cc: Who gets a copy: an address, or a list of them.
        bcc: Who gets a copy and is named in no header: an address, or a list of them.
        reply_to: Where answers go. Default: the sender.
        port: The port of the server. Default: 587; 465 with ``tls``, 25 with ``none``.
        security: ``starttls``, ``tls`` from the start, or ``none``; a server that lacks it gets nothing. Default:
            ``starttls``.
        username: The name to log in with; ``{secret: NAME}`` for a secret. Never with ``security: none``.
        password: The password of ``username``; ``{secret: NAME}`` for a secret. Both are written, or neither.
        request_timeout_seconds: How long sending may take, everything together; never more than the step's. Default:
            30.
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
    """Read, write, copy, move or list files, in the directories that the worker allows.

    Args:
        operation: What is done: ``read``, ``write``, ``copy``, ``move``, ``list`` or ``checksum``.
        path: The file, or the directory.
        to: Where it is copied or moved to.
        content: What is written. Default: the step's input.
        format: What the file holds: ``text``, ``json``, or ``base64`` for any bytes. Default: ``text``; to write what
            is no text, ``json``.
        encoding: The encoding of text and JSON. Default: ``utf-8``.
        pattern: A pattern of names, or of paths if it holds a slash: ``*.csv``, ``2026/*``. Default: ``*``.
        recursive: Whether what is below is listed, too; links are not followed. Default: false.
        algorithm: The kind of checksum: ``sha256``, ``sha512``, ``sha1``, ``md5``, ``blake2b``. Default: ``sha256``.
        overwrite: Whether a file of other content may be replaced. Default: true.
        make_dirs: Whether missing directories are made. Default: false.
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
    """Make one HTTP request.

    Args:
        url: The address: ``http://`` or ``https://``; no user name in it.
        method: The method: ``GET``, ``HEAD``, ``OPTIONS``, ``POST``, ``PUT``, ``PATCH``, ``DELETE``. Default:
            ``GET``.
        headers: The headers of the request; those that describe the connection cannot be set.
        query: Parameters of the URL; a list repeats one.
        params: The same as ``query``.
        json: The body, as JSON. The step's input is not sent by itself.
        form: The body, as the fields of a form, in place of ``json``.
        body: The body, as text, in place of ``json`` and ``form``.
        request_timeout_seconds: How long the request may take, everything together; never more than the step's.
            Default: 30.
        auth: How to log in: ``{bearer: …}`` or ``{basic: {username: …, password: …}}``; ``{secret: NAME}`` for a
            secret.
        expect: Statuses that are no failure: one, a range such as ``"200-204"``, ``"2xx"``, or a list. Default:
            ``2xx``.
        response: How the answer is read: ``json``, ``text``, or ``auto``, by the content type. Default: ``auto``.
        max_response_bytes: The longest answer, counted uncompressed. Default: 1,000,000.
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
    """Name and complete the workflow's input, as a step of its own.

    Args:
        data: A mapping that is laid over the step's input; templates allowed.
        schema: A JSON Schema (2020-12, unless ``$schema`` says otherwise) that the result must fit, without
            templates.
        required: A field or a list of them, as dotted paths; each must be there and not null.
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
        prompt: What is asked, as the last message. It may be missing where there are ``messages``.
        system: The first message: what the model is told before everything else.
        messages: A list of ``{role, content}`` between both; roles are ``system``, ``user``, ``assistant``.
        model: The model's name, as its service has it. Default: ``STEPWELL_LLM_MODEL``.
        temperature: How varied the words are: 0 for the likeliest words, up to 2 for more varied ones. Default: the
            service's.
        max_tokens: The longest answer, in tokens. Default: the service's.
        schema: A JSON Schema; the answer is then JSON that fits it.
        request_timeout_seconds: How long one answer may take; never more than the step's. Default: 120.
        include_input: Whether the model sees the step's input, as JSON after the prompt. Default: where neither
            ``prompt``, ``system`` nor ``messages`` holds a template.
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
    """Gather results, as what the workflow returns.

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
    """Let some time pass.

    Args:
        seconds: How long, in seconds, from 0 to ten years; it survives restarts.
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
        workflow: The name of a registered definition.
        data: The child's input. Default: the step's input.
        version: The version of that definition. Default: the newest that is active when the child starts.
        wait: Whether the step waits for the child's end. Default: true.
        on_child_failure: ``continue`` makes a child that failed, or was cancelled, the step's output. Default:
            ``fail``.
        priority: The child's priority: 0 to 100. Default: the parent's.
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
