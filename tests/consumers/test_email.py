"""The step type ``email``, by a real SMTP server on this machine."""

import asyncio
import contextlib
import ssl

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from stepwell.consumers.worker.builtin import BUILTIN, OF_SERVICES
from stepwell.consumers.worker.builtin.addresses import AddressRefusedError
from stepwell.consumers.worker.builtin.email import (
    EmailConnectionError,
    EmailRefusedError,
    EmailSettingsError,
    EmailTimeoutError,
)
from stepwell.consumers.worker.context import StepContext
from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, literal_credentials, load_definition
from stepwell.schemas.records.events import StepReady
from stepwell.schemas.records.work import WorkItem

MAIL = {"sender": "Shop <shop@example.com>", "to": "ann@example.com", "subject": "Größe", "text": "Hello\n"}


class Inbox:
    """What the server does with mails: it keeps them, or answers as ``answers`` says for a recipient."""

    def __init__(self):
        self.mails, self.answers, self.delay = [], {}, 0.0

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        await asyncio.sleep(self.delay)
        self.mails.append(envelope)
        return self.answers.get("data", "250 OK")


@contextlib.asynccontextmanager
async def serving(inbox, **options):
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(inbox, loop=loop, **options), "127.0.0.1", 0)
    inbox.port = listening.sockets[0].getsockname()[1]
    yield inbox
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.0/8")
    async with serving(Inbox()) as inbox:
        yield inbox


def context(config, timeout=None):
    step = StepReady(step_id="mail", run=1, step_type="email", config=config, timeout_seconds=timeout)
    return StepContext(WorkItem("order-1", "shop", "1", 7, step))


async def send(port, *, types=BUILTIN, **config):
    given = {"host": "127.0.0.1", "port": port, "security": "none", **MAIL, **config}
    given = {key: value for key, value in given.items() if value is not None}
    return await types["email"](None, context(given))


async def test_a_mail_arrives_whole_and_its_output_says_who_got_it(server):
    result = await send(
        server.port, to=["Ann <ann@example.com>", "bob@example.com"], cc="cai@example.com", bcc="dee@example.com",
        html="<p>Hello</p>", reply_to="desk@example.com",
    )  # fmt: skip
    (mail,) = server.mails
    text = mail.content.decode()
    assert mail.mail_from == "shop@example.com"
    assert mail.rcpt_tos == ["ann@example.com", "bob@example.com", "cai@example.com", "dee@example.com"]
    assert result == {"message_id": result["message_id"], "accepted": mail.rcpt_tos, "refused": {}}
    assert f"Message-ID: {result['message_id']}" in text
    assert "dee@" not in text
    assert "<p>Hello</p>" in text
    assert "Reply-To: desk@example.com" in text


async def test_each_attempt_of_a_run_has_the_same_message_id(server):
    first, second = await send(server.port), await send(server.port)
    assert first["message_id"] == second["message_id"]


async def test_a_recipient_who_is_refused_beside_others_is_told_and_all_refused_fail_the_step(server):
    server.answers["bob@example.com"] = "550 nobody here"
    result = await send(server.port, to=["ann@example.com", "bob@example.com"])
    assert (result["accepted"], result["refused"]) == (["ann@example.com"], {"bob@example.com": "550 nobody here"})
    with pytest.raises(EmailRefusedError, match="550 nobody here") as refused:
        await send(server.port, to="bob@example.com")
    assert (refused.value.status, refused.value.retryable) == (550, False)


async def test_a_server_that_says_not_now_may_be_asked_again(server):
    server.answers["data"] = "451 later"
    with pytest.raises(EmailRefusedError) as refused:
        await send(server.port)
    assert (refused.value.status, refused.value.retryable) == (451, True)


async def test_a_server_that_takes_too_long_is_given_up_and_nobody_knows_whether_it_was_sent(server):
    server.delay = 5
    with pytest.raises(EmailTimeoutError, match="may have been sent") as late:
        await send(server.port, timeout_seconds=0.5)
    assert late.value.retryable


async def test_a_server_that_is_not_there_may_be_asked_again(server):
    with pytest.raises(EmailConnectionError) as gone:
        await send(1)
    assert gone.value.retryable


async def test_a_server_without_starttls_gets_nothing(server):
    with pytest.raises(EmailConnectionError):
        await send(server.port, security="starttls")
    assert server.mails == []


async def test_hosts_are_judged_as_those_of_requests_are(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "")
    with pytest.raises(AddressRefusedError):
        await send(server.port)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"to": "nobody"}, "config.to"),
        ({"to": "a@example.com\r\nBcc: b@example.com"}, "config.to"),
        ({"subject": "a\r\nBcc: b@example.com"}, "config.subject"),
        ({"text": None}, "config.text"),
        ({"username": "u", "password": "p"}, "config.security"),
        ({"host": "a b"}, "config.host"),
        ({"timeout_seconds": 0}, "config.timeout_seconds"),
        ({"zz": 1}, "config"),
    ],
)
async def test_wrong_settings_are_named_and_never_sent(server, config, place):
    with pytest.raises(EmailSettingsError) as wrong:
        await send(server.port, **config)
    assert (wrong.value.place, wrong.value.retryable, server.mails) == (place, False, [])


LOGIN = {"username": "shop", "password": {"secret": "MAIL"}}


@pytest.fixture
async def mails(secure, tmp_path, monkeypatch):
    """The same behind TLS, for whoever logs in: ``secure`` has left its certificate, and trust in its authority."""
    monkeypatch.setenv("STEPWELL_SECRET_MAIL", "open-sesame")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.pem")

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data.password == b"open-sesame", handled=False)

    options = {"tls_context": tls, "require_starttls": True, "auth_required": True, "authenticator": authenticate}
    async with serving(Inbox(), **options) as inbox:
        yield inbox


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"host": "h", **MAIL, "zz": 1}, 'steps[0].config: unknown key "zz"'),
        ({**MAIL}, 'steps[0].config: type "email" needs "host"'),
        ({"host": "h", **MAIL, "to": 3}, "steps[0].config.to: an address"),
        ({"host": "h", **MAIL, "security": "ssl"}, 'steps[0].config.security: unknown security "ssl"'),
        ({"host": "h", **MAIL, "username": "u"}, 'steps[0].config.username: needs "password" as well'),
    ],
)
def test_a_definition_is_checked_before_it_runs(config, place):
    with pytest.raises(DefinitionError) as wrong:
        compile_plan(load_definition({"name": "w", "steps": [{"id": "a", "type": "email", "config": config}]}))
    assert any(problem.startswith(place) for problem in wrong.value.problems)


def test_a_password_that_is_written_out_is_told():
    config = {"host": "h", **MAIL, "username": "u", "password": "p"}
    definition = load_definition({"name": "w", "steps": [{"id": "a", "type": "email", "config": config}]})
    assert literal_credentials(definition) == ['steps[0] ("a").config.password']


async def test_a_secret_is_sent_nowhere_where_it_is_not_said_that_it_may_be(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_MAIL", "open-sesame")
    with pytest.raises(EmailSettingsError, match="it is not said to which hosts"):
        await send(server.port, types=OF_SERVICES, security="starttls", **LOGIN)


async def test_a_secret_is_sent_behind_tls_to_the_host_that_it_is_for(mails, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_MAIL_HOSTS", "service.example")
    login = {"host": "service.example", "security": "starttls", **LOGIN}
    assert (await send(mails.port, types=OF_SERVICES, **login))["accepted"] == ["ann@example.com"]
    monkeypatch.setenv("STEPWELL_SECRET_MAIL", "wrong-sesame")
    with pytest.raises(EmailRefusedError) as refused:
        await send(mails.port, types=OF_SERVICES, **login)
    assert (refused.value.status, refused.value.retryable) == (535, False)
    assert "wrong-sesame" not in str(refused.value)
