"""Kafka behind TLS: a real listener whose certificate keytool has made, as it comes with the broker's Java."""

from __future__ import annotations

import random
import secrets
import socket
import subprocess
import time

import pytest

from stepwell.errors import LogError
from stepwell.log.port import EVENTS, NewRecord
from stepwell.log.urls import open_log
from tests.kafka_broker import local_broker
from tests.patience import HANG

PASSWORD = "a-test's"


def keytool(*words) -> None:
    subprocess.run(["keytool", *map(str, words), "-storepass", PASSWORD], check=True, capture_output=True)


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            port = random.randrange(20_000, 32_000)
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """Where a broker listens with TLS and where without, and its certificate, which has signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    store, certificate = folder / "broker.p12", folder / "broker.pem"
    what = ("-alias", "broker", "-keystore", store)
    names = ("-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-ext", "bc:c=ca:true", "-validity", "2")
    keytool("-genkeypair", *what, *names, "-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12")
    keytool("-exportcert", "-rfc", *what, "-file", certificate)
    plain, tls, controller = (free_port() for _ in range(3))
    outside = f"PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls}"
    settings = {
        "listeners": f"{outside},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": outside,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL",
        "ssl.keystore.location": store,
        "ssl.keystore.password": PASSWORD,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with local_broker("--port", str(plain), *words):
        yield tls, plain, certificate


def url(port, **options) -> str:
    options = {"namespace": f"test-{secrets.token_hex(4)}", "partitions": 2, "connect_timeout": 5} | options
    return f"kafka://127.0.0.1:{port}?{'&'.join(f'{name}={value}' for name, value in options.items())}"


async def test_records_go_through_tls(broker):
    tls, _, certificate = broker
    log = await open_log(url(tls, security_protocol="SSL", ssl_cafile=certificate))
    await log.append(EVENTS, 0, [NewRecord("k", b"a")])
    assert [record.value for record in await log.read(EVENTS, 0, 0)] == [b"a"]
    member = await log.join("engines")
    assert await member.assignment() == {0, 1}
    await log.close()


async def fails(url) -> LogError:
    began = time.monotonic()
    with pytest.raises(LogError) as caught:
        await open_log(url)
    assert time.monotonic() - began < HANG
    assert str(caught.value.place).startswith("kafka://127.0.0.1:")
    return caught.value


async def test_a_certificate_of_an_unknown_authority_is_a_clear_error_at_once(broker):
    began = time.monotonic()
    error = await fails(url(broker[0], security_protocol="SSL", connect_timeout=HANG))
    assert time.monotonic() - began < HANG
    assert "certificate" in str(error).lower()
    assert "ssl_cafile" in error.remedy


async def test_tls_where_the_broker_speaks_without_it_is_a_clear_error(broker):
    error = await fails(url(broker[1], security_protocol="SSL", ssl_cafile=broker[2]))
    assert "security_protocol" in error.remedy


async def test_no_tls_where_the_broker_wants_it_is_an_error_that_names_the_option(broker):
    error = await fails(url(broker[0]))
    assert "security_protocol" in error.remedy


async def test_files_that_are_not_there_are_named(broker):
    error = await fails(url(broker[0], security_protocol="SSL", ssl_cafile="/nowhere.pem"))
    assert "ssl_cafile" in error.remedy
