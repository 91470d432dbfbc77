"""Where the server listens: TCP, Unix sockets, sockets of systemd, and connections that begin with a PROXY header."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from clients import logged_in
from raw import OPEN, Raw, frame, head, raw
from servers import PASSWORDS, Program, Running, config, program, running
from xmppws.app import Server, StartError
from xmppws.config import Host, Listener
from xmppws.http.proxy_protocol import SIGNATURE

V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\r\n"
V4 = bytes((198, 51, 100, 7, 192, 0, 2, 1, 1, 1, 2, 2))
V2 = SIGNATURE + b"\x21\x11\0\x0c" + V4
V2_TLS = SIGNATURE + b"\x21\x11\0\x14" + V4 + b"\x20\0\5\1\0\0\0\0"
V2_LOCAL = SIGNATURE + b"\x20\0\0\0"


def has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6)) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


# TCP


@needs_ipv6
async def test_ipv6() -> None:
    hosts = {"localhost": Host(http_host=("::1",))}
    async with running(config(hosts=hosts, http={"listen": ("[::1]:0",)})) as server:
        async with logged_in(f"ws://[::1]:{server.port}/xmpp-websocket", "alice", PASSWORDS["alice"]):
            (connection,) = server.server.endpoint.connections
            assert connection.address == "::1"


@needs_ipv6
async def test_all_of_ipv6_leaves_ipv4_to_others() -> None:
    async with running(config(http={"listen": ("[::]:0",)})) as server:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        async with running(config(http={"listen": (f"0.0.0.0:{server.port}",)})) as second:
            assert second.port == server.port


async def test_an_address_that_is_not_ours_is_named() -> None:
    for listen, reason in (
        ("192.0.2.1:5280", os.strerror(errno.EADDRNOTAVAIL)),
        ("no-such-host.invalid:5280", "name"),
    ):
        with pytest.raises(StartError, match=rf"http\.listen: cannot listen on {listen}: (?i:.*{reason})"):
            await Server(config(http={"listen": (listen,)})).start()


# Unix sockets


def unix(path: Path, **options: Any) -> dict[str, Any]:
    return {"listen": (), "listeners": (Listener(address=f"unix:{path}", **options),)}


@pytest.mark.parametrize(("options", "mode"), [({}, 0o660), ({"mode": "0600"}, 0o600), ({"mode": "0666"}, 0o666)])
async def test_the_mode_of_a_unix_socket(tmp_path: Path, options: dict[str, str], mode: int) -> None:
    path = tmp_path / "http.sock"
    async with running(config(http=unix(path, **options))):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not path.exists()


async def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
        dead.listen()
    async with running(config(http=unix(path))):
        assert await status_at(path) == 200


async def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with running(config(http=unix(path))):
        with pytest.raises(StartError, match=f"{path}: another program is listening there"):
            await Server(config(http=unix(path))).start()
        assert await status_at(path) == 200


async def test_a_socket_with_a_full_backlog_is_live(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with closing(socket.socket(socket.AF_UNIX)) as busy, closing(socket.socket(socket.AF_UNIX)) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(StartError, match="another program is listening there"):
            await Server(config(http=unix(path))).start()


async def test_a_file_that_is_no_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    path.write_text("precious")
    with pytest.raises(StartError, match=f"{path}: a file that is no socket is there"):
        await Server(config(http=unix(path))).start()
    assert path.read_text() == "precious"


async def test_the_socket_of_a_successor_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with running(config(http=unix(path))):
        path.unlink()
        path.write_text("a successor's")
    assert path.exists()


# systemd

FILE = """
data_dir = "{data}"
[http]
listen = ["systemd:web"]
consider_websocket_secure = true
[metrics]
listen = []
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
"""

# What systemd does between fork and exec: the descriptors begin at 3, and the process is named by its id.
HAND_OVER = """
import os, sys
for target, source in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(source, target)
os.environ["LISTEN_PID"] = str(os.getpid() if sys.argv[2] == "me" else 1)
os.execv(sys.executable, [sys.executable, "-m", "xmppws", "serve", "-c", sys.argv[3]])
"""


class Service:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    async def told(self) -> dict[str, str]:
        """Return the next message."""
        async with asyncio.timeout(20):
            data = await asyncio.get_running_loop().sock_recv(self._sock, 4096)
        return dict(line.split("=", 1) for line in data.decode().split("\n"))


@asynccontextmanager
async def activated(
    tmp_path: Path, *sockets: socket.socket, names: str, notify: str, whose: str = "me"
) -> AsyncIterator[Program]:
    """Start the program as systemd does, with sockets from 100 on, so that none is in the way of another."""
    file = tmp_path / "xmppws.toml"
    file.write_text(FILE.format(data=tmp_path / "data"))
    high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100) for sock in sockets]
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HAND_OVER, ",".join(map(str, high)), whose, str(file)),
            env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names, "NOTIFY_SOCKET": notify},
            pass_fds=high,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        for fd in high:
            os.close(fd)
    started = Program(process)
    try:
        yield started
    finally:
        await started.stop()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        yield sock


async def test_sockets_and_states_of_systemd(tmp_path: Path, listening: socket.socket) -> None:
    notify = f"\0xmppws-test-{os.getpid()}-{tmp_path.name}"
    path = tmp_path / "web.sock"
    with (
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as told,
        closing(socket.socket(socket.AF_UNIX)) as unix_listening,
        closing(socket.create_server(("127.0.0.1", 0))) as unused,
    ):
        told.bind(notify)
        unix_listening.bind(str(path))
        unix_listening.listen()
        service = Service(told)
        port = listening.getsockname()[1]
        sockets = (listening, unused, unix_listening)
        async with activated(tmp_path, *sockets, names="web:other:web", notify="@" + notify[1:]) as server:
            ready = await service.told()
            assert ready["READY"] == "1" and f"127.0.0.1:{port}, unix:{path}" in ready["STATUS"]
            await server.logged("systemd handed over the socket other, but no address")
            assert await status(port) == 200
            assert await status_at(path) == 200
            server.process.send_signal(signal.SIGHUP)
            reloading = await service.told()
            assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0
            assert (await service.told())["READY"] == "1"
            assert await status(port) == 200
            server.process.terminate()
            assert (await service.told())["STOPPING"] == "1"
            assert await server.process.wait() == 0
        assert path.exists()


async def test_a_notify_socket_with_a_path(tmp_path: Path, listening: socket.socket) -> None:
    path = tmp_path / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as told:
        told.bind(str(path))
        async with activated(tmp_path, listening, names="web", notify=str(path)):
            assert (await Service(told).told())["READY"] == "1"


async def test_sockets_of_another_process_are_none_of_ours(tmp_path: Path, listening: socket.socket) -> None:
    async with activated(tmp_path, listening, names="web", notify="", whose="somebody") as server:
        await server.logged(r"http\.listen: systemd handed over no socket 'web'; those it did: none")
        assert await server.process.wait() == 1


async def test_a_socket_that_does_not_listen_is_named(tmp_path: Path) -> None:
    with closing(socket.socket()) as quiet:
        async with activated(tmp_path, quiet, names="web", notify="") as server:
            await server.logged("the socket web that systemd handed over does not listen")
            assert await server.process.wait() == 1


async def status_of(connection: Raw) -> int:
    connection.write(head(path="/health/live", Upgrade=None, Connection=None))
    return (await connection.response())[0]


async def status_at(path: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(str(path))
    with closing(writer):
        return await status_of(Raw(reader, writer))


async def status(port: int) -> int:
    async with raw(port) as connection:
        return await status_of(connection)


# PROXY protocol


def proxied(**http: Any) -> dict[str, Any]:
    listener = Listener(address="127.0.0.1:0", proxy_protocol=True)
    return {"listen": (), "listeners": (listener,), "consider_websocket_secure": False, **http}


async def seen(server: Running, header: bytes, **headers: str) -> tuple[str, bool]:
    """Make a handshake behind a PROXY header, and return the address and whether it is secure."""
    async with raw(server.port) as connection:
        connection.write(header + head(**headers) + frame(OPEN))
        status, text = await connection.response()
        assert status == 101, text
        (found,) = server.server.endpoint.connections
        connection.write(frame(b"", 8))
        await connection.frames()
        return found.address, found.secure


@pytest.mark.parametrize(
    ("header", "headers", "address", "secure"),
    [
        (V1, {}, "198.51.100.7", False),
        (V2, {}, "198.51.100.7", False),
        (V2_TLS, {}, "198.51.100.7", True),
        (V2, {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https"}, "198.51.100.7", False),
        (V2_LOCAL, {}, "127.0.0.1", False),
        (b"PROXY UNKNOWN\r\n", {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https"}, "203.0.113.1", True),
        (V1.replace(b"198.51.100.7", b"127.0.0.1"), {"X-Forwarded-For": "203.0.113.1"}, "203.0.113.1", False),
    ],
)
async def test_a_proxy_header_tells_the_client(
    header: bytes, headers: dict[str, str], address: str, secure: bool
) -> None:
    async with running(config(http=proxied())) as server:
        assert await seen(server, header, **headers) == (address, secure)
        assert server.server.endpoint.admission.connections == 0


async def test_a_proxy_header_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    http = unix(path, proxy_protocol=True) | {"trusted_proxies": ("unix",)}
    async with running(config(http=http)) as server:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(V2_TLS + head())
        assert (await Raw(reader, writer).response())[0] == 101
        (found,) = server.server.endpoint.connections
        assert (found.address, found.secure) == ("198.51.100.7", True)
        writer.close()


async def test_a_header_in_single_bytes() -> None:
    async with running(config(http=proxied())) as server, raw(server.port) as connection:
        for byte in V2:
            connection.write(bytes((byte,)))
            await connection.writer.drain()
        assert await status_of(connection) == 200


async def test_a_proxy_header_of_a_stranger_closes(caplog: pytest.LogCaptureFixture) -> None:
    async with running(config(http=proxied(trusted_proxies=("192.0.2.1",)))) as server:
        for _ in range(3):
            async with raw(server.port) as connection:
                connection.write(V1 + head())
                assert await connection.is_closed()
        assert server.server.endpoint.admission.connections == 0
    warnings = [record.getMessage() for record in caplog.records if record.name == "xmppws.proxies"]
    assert len(warnings) == 1 and "127.0.0.1" in warnings[0] and "trusted_proxies" in warnings[0]


async def test_a_trusted_proxy_without_header_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with running(config(http=proxied())) as server, raw(server.port) as connection:
        connection.write(head(path="/health/live"))
        assert await connection.is_closed()
    assert re.search(r"closed a connection of 127\.0\.0\.1, which must begin with a PROXY header", caplog.text)


@pytest.mark.parametrize("begun", [b"", V1[:20], V1 + b"GET / HTTP/1.1\r\n"])
async def test_one_deadline_for_the_header_and_the_request(begun: bytes) -> None:
    async with running(config(http=proxied(), handshake_timeout=0.5)) as server, raw(server.port) as connection:
        connection.write(begun)
        assert await connection.is_closed()
        assert server.server.endpoint.admission.connections == 0


async def test_the_limit_of_connections_counts_behind_the_header() -> None:
    async with running(config(http=proxied(), max_connections=1)) as server, raw(server.port) as first:
        first.write(V1 + head())
        assert (await first.response())[0] == 101
        async with raw(server.port) as second:
            second.write(V1)
            assert (await second.refusal())[0] == 503


async def test_a_stop_does_not_wait_for_a_header() -> None:
    async with running(config(http=proxied())) as server:
        async with raw(server.port) as connection:
            connection.write(V1[:5])
            async with raw(server.port) as second:
                second.write(V1)
                assert await status_of(second) == 200
            await server.server.stop()
            assert await connection.is_closed()


async def test_the_program_reads_proxy_headers(tmp_path: Path) -> None:
    file = tmp_path / "xmppws.toml"
    listeners = '[[http.listeners]]\naddress = "127.0.0.1:0"\nproxy_protocol = true\n'
    text = FILE.format(data=tmp_path / "data").replace("[metrics]", listeners + "[metrics]")
    file.write_text(text.replace('"systemd:web"', ""))
    async with program(file) as server, raw(server.port) as connection:
        connection.write(V2_TLS + head() + frame(OPEN))
        assert (await connection.response())[0] == 101
        assert b"<open" in (await connection.frame())[1]
        await server.logged("address=198.51.100.7 secure=True")
