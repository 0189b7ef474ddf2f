"""Servers, and names that no resolver has."""

import ssl

import pytest
from http_server import Server

from stepwell.consumers.worker.builtin import addresses

# An authority, and a certificate of service.example by it, valid from 2020 to 2120.
AUTHORITY = """-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdTdGVwd2Vs
bCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowIjEgMB4GA1UEAwwXU3RlcHdlbGwgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAASRkhLmBbFkZtdobvLzMmKRzq+PV8GqK2MKDOrEBtLi
d0HUG1VS/6Dm+HPJs6ohXKubZMeIc5y418SOLxbUTr3Mo0IwQDAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUBkI9dI+DvYSrV7FsA90F
RukpEg0wCgYIKoZIzj0EAwIDSAAwRQIhAMvA2eL8UuO4oEHIvAtWKhMYc3/WIj4b
uwaIww7rY+FQAiBR57P/GbEpZqtbWWbRg10tzj235IBIKbMNCU+T5Ru74w==
-----END CERTIFICATE-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBvDCCAWOgAwIBAgIBAjAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdTdGVwd2Vs
bCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowGjEYMBYGA1UEAwwPc2VydmljZS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEBvl4mJuKSJdPfiHJwKj0dTYs+35//qC20TEVU7jDPgTbyh6BuiHx
OW5VcO+WoEpFcVLXcj8Macba9zbLPyFJF6OBjzCBjDAJBgNVHRMEAjAAMA4GA1Ud
DwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUyO23Hduf
3L2DgEkkqBpLt18c9JgwHwYDVR0jBBgwFoAUBkI9dI+DvYSrV7FsA90FRukpEg0w
GgYDVR0RBBMwEYIPc2VydmljZS5leGFtcGxlMAoGCCqGSM49BAMCA0cAMEQCIDhR
UH///MVBgAx4NIRoDcMH7+euwGEw5nxSGpaJIhGPAiA2DF6YrcPUW+/N2g1y4843
AyYfY1kn/LKo7x4+LgoIrw==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVkBhS3mjsQeuXUF1
Y2uO+YUZT2WI/rmvjEHNPD5RedmhRANCAAQG+XiYm4pIl09+IcnAqPR1Niz7fn/+
oLbRMRVTuMM+BNvKHoG6IfE5blVw75agSkVxUtdyPwxpxtr3Nss/IUkX
-----END PRIVATE KEY-----
"""


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1")
    async with Server() as running:
        yield running


@pytest.fixture
async def other(server):
    """Another server: to HTTP, another port is another origin."""
    async with Server() as running:
        yield running


@pytest.fixture
def names(monkeypatch):
    """What names resolve to: a list of addresses, or a list of such lists, one for each time it is asked."""
    known = {}
    asked = []

    async def lookup(host, port):
        asked.append(host)
        found = known[host]
        return found.pop(0) if isinstance(found[0], list) else found

    monkeypatch.setattr(addresses, "lookup", lookup)
    known["asked"] = asked
    return known


@pytest.fixture
async def secure(tmp_path, names, monkeypatch):
    """A server of https://service.example."""
    (tmp_path / "server.pem").write_text(CERTIFICATE)
    (tmp_path / "authority.pem").write_text(AUTHORITY)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1")
    names["service.example"] = names["impostor.example"] = ["127.0.0.1"]
    async with Server(tls=tls) as running:
        tls.sni_callback = lambda _, name, __: running.names.append(name)
        yield running
