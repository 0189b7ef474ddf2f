"""The step ``llm``: what it asks of a service, what it makes of answers, and that it never makes one up."""

import json

import pytest
from http_server import Answer, Server, context, json_of, redirect, retried

from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.builtin.http import (
    HTTPConnectionError,
    HTTPStatusError,
    HTTPTimeoutError,
    PayloadTooLarge,
)
from stepwell.consumers.worker.builtin.llm import (
    LLMAnswerError,
    LLMNotConfigured,
    LLMRefusedError,
    LLMSettingsError,
    LLMTruncatedError,
)
from stepwell.consumers.worker.failures import describe
from tests.workbench import handlers_of, outcome, stage, workflow

pytestmark = pytest.mark.rows("X4", "D6")

KEY = "sk-test-0123456789abcdef"
CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "required": ["mood"], "properties": {"mood": {"enum": ["good", "bad"]}}}


def completion(content, *, finish="stop", **message):
    return json_of({
        "id": "c-1", "object": "chat.completion", "model": "tiny-2",
        "choices": [{"index": 0, "finish_reason": finish,
                     "message": {"role": "assistant", "content": content, **message}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    })  # fmt: skip


@pytest.fixture
async def service(monkeypatch):
    """A service on this machine, as an operator would configure it: nothing else allows its address."""
    monkeypatch.delenv("STEPWELL_HTTP_ALLOW", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("STEPWELL_LLM_MODEL", "tiny")
    async with Server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url("/v1/"))
        running.answers[CHAT] = completion("All is well.")
        yield running


async def ask(data=None, *, timeout=None, **config):
    return await BUILTIN["llm"](data, context(config, timeout=timeout))


async def failure(kind, data=None, **config):
    with pytest.raises(kind) as caught:
        await ask(data, **config)
    assert type(caught.value) is kind
    recorded = describe(caught.value)
    assert KEY not in f"{recorded}"
    return caught.value


def sent(service):
    return json.loads(service.seen[-1].body)


async def test_a_prompt_is_asked_and_the_answer_returned_with_what_it_cost(service):
    result = await ask(prompt="How is it?", system="Be short.", temperature=0.2, max_tokens=50)
    assert result == {
        "response": "All is well.",
        "model": "tiny-2",
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
        "finish_reason": "stop",
    }
    (seen,) = service.seen
    assert (seen.method, seen.target) == ("POST", CHAT)
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["idempotency-key"] == "order-1:call:3"
    assert sent(service) == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How is it?"}],
        "temperature": 0.2,
        "max_tokens": 50,
    }


async def test_messages_come_between_system_and_prompt_and_a_model_that_is_named_is_asked(service):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    await ask(system="s", messages=messages, prompt="p", model="large")
    assert sent(service)["model"] == "large"
    assert [m["content"] for m in sent(service)["messages"]] == ["s", "Hi", "Hello", "p"]


async def test_the_input_is_shown_to_the_model_where_it_shall_be(service):
    await ask({"rows": [1, 2]}, prompt="Analyze data", include_input=True)
    assert sent(service)["messages"] == [
        {"role": "user", "content": 'Analyze data\n\nInput, as JSON:\n{"rows":[1,2]}'}
    ]
    for data, shown in (({"rows": 1}, False), ({}, True), (None, True)):
        await ask(data, prompt="Analyze data", include_input=shown)
        assert sent(service)["messages"][0]["content"] == "Analyze data"


@pytest.mark.parametrize(
    ("config", "content"),
    [
        ({"prompt": "Analyze data"}, 'Analyze data\n\nInput, as JSON:\n{"a":1,"b":2}'),
        ({"prompt": "Analyze {{ step_outputs.one.a }}"}, "Analyze 1"),
        ({"prompt": "Analyze", "system": "All: {{ input }}"}, "Analyze"),
        ({"prompt": "Analyze", "include_input": False}, "Analyze"),
        ({"prompt": "{{ step_outputs.one }}"}, '{"a": 1}'),
    ],
)
async def test_a_step_sees_its_merged_input_unless_a_template_says_what_it_sees(service, log, config, content):
    """As the seed with ``type: ai`` and ``prompt: Analyze data`` means it: two branches, one analysis."""
    definition = workflow(
        {"id": "one", "handler": "one"},
        {"id": "two", "handler": "two"},
        {"id": "think", "type": "ai", "depends_on": ["one", "two"], "config": config},
        {"id": "end", "type": "output", "depends_on": ["think"]},
    )
    handlers = handlers_of(one=lambda: {"a": 1}, two=lambda: {"b": 2})
    async with stage(log, handlers, definition) as client:
        ended = await outcome(client, {})
        history = await client.history(ended.instance_id)
    assert ended.output["think"]["response"] == "All is well."
    assert sent(service)["messages"][-1] == {"role": "user", "content": content}
    assert KEY not in f"{history}"


async def test_with_a_schema_the_answer_is_data_that_fits_it(service):
    service.answers[CHAT] = completion('{"mood": "good"}')
    result = await ask(prompt="?", schema=SCHEMA)
    assert result["response"] == {"mood": "good"}
    assert sent(service)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA},
    }


@pytest.mark.parametrize("text", ['```json\n{"mood": "bad"}\n```', ' ```\n{"mood":\n"bad"}\n``` \n'])
async def test_data_that_is_set_off_as_code_is_data(service, text):
    service.answers[CHAT] = completion(text)
    assert (await ask(prompt="?", schema=SCHEMA))["response"] == {"mood": "bad"}
    assert (await ask(prompt="?"))["response"] == text  # nobody asked for data


async def test_of_the_usage_the_numbers_are_kept_and_nothing_odd_gets_out(service):
    answer = json.loads(completion("x").body)
    answer |= {
        "model": [1],
        "usage": {"total_tokens": 3, "details": {"cached": 1, "why": KEY}, "odd": [1], "yes": True,
                  "deep": {"a": {"b": {"c": 1}}}},
    }  # fmt: skip
    answer["choices"][0]["finish_reason"] = {"a": 1}
    service.answers[CHAT] = json_of(answer)
    assert await ask(prompt="?") == {
        "response": "x",
        "model": "tiny",
        "usage": {"total_tokens": 3, "details": {"cached": 1}, "deep": {"a": {}}},
        "finish_reason": None,
    }


@pytest.mark.parametrize(
    ("answer", "kind", "text", "again"),
    [
        (completion('{"mood": "so-so"}'), LLMAnswerError, "mood: 'so-so' is not one of", True),
        (completion("{}"), LLMAnswerError, "'mood' is a required property", True),
        (completion("Good."), LLMAnswerError, "is no JSON", True),
        (completion('{"mood": "go', finish="length"), LLMTruncatedError, "max_tokens", False),
        (completion(None, refusal="I must not."), LLMRefusedError, "I must not.", False),
        (completion("", finish="content_filter"), LLMRefusedError, "content filter", False),
        (completion(None), LLMAnswerError, "holds null instead of a text", True),
        (json_of({"choices": []}), LLMAnswerError, "is no chat completion", True),
        (json_of([1]), LLMAnswerError, "is no chat completion", True),
        (json_of({"choices": "abc"}), LLMAnswerError, "is no chat completion", True),
        (json_of({"choices": [{"message": "abc"}]}), LLMAnswerError, "is no chat completion", True),
        (json_of("[" * 9), LLMAnswerError, "is no chat completion", True),
        (Answer(body=b"[" * 700 + b"]" * 700), LLMAnswerError, "is no chat completion", True),
        (Answer(body=b"[" * 70_000), LLMAnswerError, "is no JSON", True),
        (Answer(body=b""), LLMAnswerError, "is no JSON: nothing", True),
        (Answer(headers={"Content-Type": "text/html"}, body=b"<p>Back soon"), LLMAnswerError, "<p>Back soon", True),
        (completion(None, refusal={"code": 7}), LLMRefusedError, "no reason", False),
        (completion(["a"]), LLMAnswerError, "holds a list instead of a text", True),
        (completion("[" * 70_000), LLMAnswerError, "is no JSON", True),
        (completion("NaN"), LLMAnswerError, "is no JSON", True),
        (completion("```json\nGood.\n```"), LLMAnswerError, "is no JSON", True),
    ],
)
async def test_answers_of_no_use_are_errors(service, answer, kind, text, again):
    service.answers[CHAT] = answer
    error = await failure(kind, prompt="?", schema=SCHEMA)
    assert text in str(error)
    assert retried(error) is again


@pytest.mark.parametrize(("status", "again"), [(429, True), (500, True), (503, True), (400, False), (404, False)])
async def test_a_status_tells_whether_another_attempt_makes_sense(service, status, again):
    service.answers[CHAT] = Answer(status, {"Retry-After": "7"}, b'{"error": {"message": "nope"}}')
    error = await failure(HTTPStatusError, prompt="?")
    assert (error.status, retried(error), error.retry_after) == (status, again, 7.0)
    assert describe(error).retry_after == 7.0
    assert "nope" in str(error)


@pytest.mark.parametrize("status", [401, 403])
async def test_what_a_service_says_of_a_wrong_key_is_not_quoted(service, status):
    service.answers[CHAT] = Answer(status, body=f"wrong key {KEY[:8]}…{KEY[-4:]}".encode())
    error = await failure(HTTPStatusError, prompt="?")
    assert "OPENAI_API_KEY" in error.remedy
    assert KEY[:8] not in f"{describe(error)}"
    assert not retried(error)


async def test_the_key_is_in_no_error_and_no_answer(service):
    service.answers[CHAT] = Answer(500, body=f"Bearer {KEY}".encode())
    await failure(HTTPStatusError, prompt="?")
    service.answers[CHAT] = completion(f"Your key is {KEY}.")
    assert (await ask(prompt="?"))["response"] == "Your key is ***."
    spelt = "".join(f"\\u{ord(sign):04x}" for sign in KEY)  # as JSON may write any character
    service.answers[CHAT] = completion(f'{{"key": "{spelt}"}}')
    assert (await ask(prompt="?", schema={"type": "object"}))["response"] == {"key": "***"}
    for answer in (json_of({"error": KEY}), Answer(body=KEY.encode())):
        service.answers[CHAT] = answer
        assert "***" in str(await failure(LLMAnswerError, prompt="?"))
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)  # JSON has more ways than one to write it
    service.answers[CHAT] = Answer(body=b'{"choices": [{"message": {"content": "%b"}}]}' % escaped.encode())
    assert (await ask(prompt="?"))["response"] == "***"


async def test_a_service_that_takes_too_long_or_is_not_there_may_be_asked_again(service, monkeypatch):
    service.answers[CHAT].wait = 5
    assert retried(await failure(HTTPTimeoutError, prompt="?", timeout_seconds=0.1))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert retried(await failure(HTTPConnectionError, prompt="?"))


async def test_an_endless_answer_is_refused(service):
    service.answers[CHAT] = completion("x" * 1_100_000)
    assert not retried(await failure(PayloadTooLarge, prompt="?"))


async def test_a_redirect_is_not_followed_since_the_key_would_go_with_it(service):
    async with Server() as other:
        service.answers[CHAT] = redirect(other.url(CHAT), status=307)
        other.answers[CHAT] = completion("gotcha")
        error = await failure(HTTPStatusError, prompt="?")
    assert error.status == 307
    assert not retried(error)
    assert other.seen == []


async def test_a_local_service_needs_no_key(service, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert (await ask(prompt="?"))["response"] == "All is well."
    assert "authorization" not in service.seen[-1].headers


async def test_where_nothing_is_configured_nothing_is_made_up(service, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    error = await failure(LLMNotConfigured, prompt="?")
    assert not retried(error)
    assert "OPENAI_BASE_URL" in error.remedy
    assert "OPENAI_API_KEY" in error.remedy
    assert service.seen == []


async def test_a_model_must_be_named_somewhere(service, monkeypatch):
    monkeypatch.delenv("STEPWELL_LLM_MODEL")
    error = await failure(LLMNotConfigured, prompt="?")
    assert "STEPWELL_LLM_MODEL" in error.remedy
    await ask(prompt="?", model="other")
    assert sent(service)["model"] == "other"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://example.com", "only http:// and https://"),
        ("nonsense", "only http:// and https://"),
        ("http://user:pw@example.com/v1", "takes no user name"),
        ("http://example.com/v1?key=1", "takes no user name, query"),
    ],
)
async def test_a_base_url_that_is_none_is_told(service, monkeypatch, url, text):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    error = await failure(LLMNotConfigured, prompt="?")
    assert error.place == "OPENAI_BASE_URL"
    assert text in error.message


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({}, "config.prompt"),
        ({"prompt": None}, "config.prompt"),
        ({"prompt": "?", "temperature": 3}, "config.temperature"),
        ({"prompt": "?", "temperature": True}, "config.temperature"),
        ({"prompt": "?", "max_tokens": 0}, "config.max_tokens"),
        ({"prompt": "?", "timeout_seconds": 0}, "config.timeout_seconds"),
        ({"messages": "hi"}, "config.messages"),
        ({"messages": [{"role": "boss", "content": "hi"}]}, "config.messages[0].role"),
        ({"messages": [{"role": "user"}]}, "config.messages[0].content"),
        ({"prompt": "?", "schema": {"type": "nonsense"}}, "config.schema.type"),
        ({"prompt": "?", "schema": {"$ref": "#/$defs/x"}}, "config.schema.$ref"),
        ({"prompt": "?", "schema": {"$ref": "other.json"}}, "config.schema"),
        ({"prompt": "?", "promt": 1}, "config"),
    ],
)
async def test_settings_that_a_template_has_filled_in_wrongly_are_told(service, config, place):
    service.answers[CHAT] = completion('{"mood": "good"}')
    error = await failure(LLMSettingsError, **config)
    assert error.place == place
    assert not retried(error)
