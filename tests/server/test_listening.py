from __future__ import annotations

import asyncio
import socket

import pytest

from stepwell.server.http.listening import ListenError, listen, url_of


async def test_answers_are_sent_without_delay():
    """An answer whose head and body are two packets would else wait 40 ms for the client's acknowledgement."""
    listening = listen("127.0.0.1", 0)
    taken = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: taken.set_result(writer), sock=listening)
    _, writer = await asyncio.open_connection(*listening.getsockname())
    there = await taken
    assert there.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for one in (writer, there):
        one.close()
        await one.wait_closed()
    server.close()
    await server.wait_closed()


def test_where_it_listens_is_told_as_people_write_it():
    with listen("localhost", 0) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
    if socket.has_ipv6:
        with listen("::1", 0) as listening:
            assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid", "a" * 300, "é" * 70])
def test_addresses_that_are_not_ours_are_refused(host):
    with pytest.raises(ListenError) as told:
        listen(host, 8080)
    assert told.value.place == f"{host}:8080"
