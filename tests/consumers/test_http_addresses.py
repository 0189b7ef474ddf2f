"""Where the step ``http_request`` may not go. Only the resolver is replaced, where names are needed that none has."""

import re
from ipaddress import ip_address

import pytest
from http_server import failure, json_of, request, retried

from stepwell.consumers.worker.builtin.addresses import (
    AddressRefusedError,
    AllowList,
    AllowListError,
    refusal,
)
from stepwell.consumers.worker.builtin.http import (
    HTTPConnectionError,
)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "shared"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "host-agent"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:c0a8:101::1", "private"),
        ("2001:0:4136:e378::1", "Teredo"),
        ("2001:db8::1", "documentation"),
        ("2606:4700::5efe:10.0.0.1", "private"),
        ("2606:4700::200:5efe:127.0.0.1", "loopback"),
        ("4000::1", "reserved"),
    ],
)
async def test_addresses_that_are_not_on_the_internet_are_refused(address, why, names, monkeypatch):
    monkeypatch.delenv("STEPWELL_HTTP_ALLOW", raising=False)
    assert refusal(ip_address(address)).startswith(why)
    names["inside.example"] = [address]
    error = await failure(AddressRefusedError, "http://inside.example/")
    assert (error.host, error.address) == ("inside.example", address)
    assert f'"inside.example" is {address}' in str(error)
    assert "STEPWELL_HTTP_ALLOW=inside.example" in str(error)
    assert not retried(error)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_addresses_on_the_internet_are_not_refused(address):
    assert refusal(ip_address(address)) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_no_way_to_write_it_leads_to_this_machine(server, host, monkeypatch):
    monkeypatch.delenv("STEPWELL_HTTP_ALLOW")
    error = await failure(AddressRefusedError, f"http://{host}:{server.port}/")
    allowed = re.search(r"STEPWELL_HTTP_ALLOW=(\S+)", str(error))[1]
    assert server.connections == 0
    assert await AllowList(allowed).addresses(host.strip("[]"), server.port)  # what the error says does help


async def test_one_inner_address_among_many_is_enough_to_refuse(names):
    names["mixed.example"] = ["1.1.1.1", "10.0.0.5"]
    assert (await failure(AddressRefusedError, "http://mixed.example/")).address == "10.0.0.5"


async def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to(server, names, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1/32")
    # The first answer is allowed; one that asked again would be sent elsewhere, as DNS rebinding does.
    names["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    server.answers["/"] = json_of([1])
    assert (await request(server.url(host="rebind.example")))["response"] == [1]
    assert names["asked"] == ["rebind.example"]
    assert server.seen[0].headers["host"] == f"rebind.example:{server.port}"
    with pytest.raises(AddressRefusedError):  # each request asks anew
        await request(server.url(host="rebind.example"))


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "127.0.0.1"])
@pytest.mark.parametrize("allow", ["127.0.0.0/8", " localhost , 127.0.0.1 ", "10.0.0.0/8,[::1],127.0.0.1/8"])
async def test_allowed_networks_are_reached_in_every_form(server, allow, host, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", allow)
    server.answers["/"] = json_of([1])
    assert (await request(f"http://{host}:{server.port}/"))["response"] == [1]


async def test_an_allowed_name_is_reached_and_another_name_of_it_is_not(server, names, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "Api.Internal.")
    names["api.internal"] = names["alias.internal"] = ["127.0.0.1"]
    server.answers["/"] = json_of([1])
    assert (await request(server.url(host="api.internal")))["response"] == [1]
    await failure(AddressRefusedError, server.url(host="alias.internal"))


@pytest.mark.parametrize(
    "entry", ["localhost:8080", "http://x", "10.0.0.0/33", "*.example.com", "1.2.3.400", "exämple"]
)
async def test_an_allow_list_that_cannot_be_read_says_which_entry(entry, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", f"localhost,{entry}")
    error = await failure(AllowListError, "http://localhost/")
    assert f'STEPWELL_HTTP_ALLOW: "{entry}" is neither a host nor a network' in str(error)
    assert not retried(error)


async def test_the_environments_proxies_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/"] = json_of([1])
    assert (await request(server.url()))["response"] == [1]


# --- TLS ---


async def test_over_tls_the_name_is_asked_for_and_checked_though_the_address_is_connected_to(secure):
    secure.answers["/"] = json_of([1])
    assert (await request(secure.url(host="service.example")))["response"] == [1]
    assert secure.names == ["service.example"]
    assert secure.seen[0].headers["host"] == f"service.example:{secure.port}"


@pytest.mark.parametrize("host", ["impostor.example", "127.0.0.1"])
async def test_a_certificate_of_another_name_is_refused_and_not_retried(secure, host):
    error = await failure(HTTPConnectionError, secure.url(host=host))
    assert "certificate is not valid" in str(error)
    assert not retried(error)
    assert secure.seen == []


async def test_a_certificate_of_an_unknown_authority_is_refused(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    error = await failure(HTTPConnectionError, secure.url(host="service.example"))
    assert "SSL_CERT_FILE" in str(error)
    assert secure.seen == []
