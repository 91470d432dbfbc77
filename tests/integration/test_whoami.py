"""What the console's whoami.json tells, to whom."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientSession

from servers import Running, config, running
from xmppws import __version__
from xmppws.config import Host

PROXIED = {
    "Host": "chat.example.com",
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "Origin": "https://chat.example.com",
    "Cookie": "session=SECRET",
    "Authorization": "Bearer SECRET",
    "X-Real-IP": "192.0.2.1",
}


def settings(**http: Any) -> Any:
    hosts = {"example.com": Host(http_host=("chat.example.com",)), "example.org": Host()}
    return config(hosts=hosts, http={"console": True, "consider_websocket_secure": False, **http})


async def whoami(server: Running, headers: dict[str, str]) -> tuple[Any, str]:
    async with ClientSession() as session:
        async with session.get(f"{server.http}/console/whoami.json?token=SECRET", headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers
            return await answer.json(), await answer.text()


async def test_a_trusted_proxy_is_believed() -> None:
    async with running(settings()) as server:
        seen, text = await whoami(server, PROXIED)
    assert "SECRET" not in text
    assert seen == {
        "version": __version__,
        "address": {
            "value": "198.51.100.7",
            "how": "X-Forwarded-For of the trusted proxy 127.0.0.1",
            "uncertain": False,
        },
        "secure": {"value": True, "how": "X-Forwarded-Proto is https", "declared": False},
        "virtual_host": {"value": ["example.com"], "how": "Host is 'chat.example.com'"},
        "websocket": "wss://chat.example.com/xmpp-websocket",
        "host_meta": {"value": ["wss://chat.example.com/xmpp-websocket"], "how": ""},
        "headers": [[name, PROXIED[name]] for name in ("Host", "Origin", "X-Forwarded-For", "X-Forwarded-Proto")],
        "notes": [],
    }


async def test_a_stranger_is_not_believed() -> None:
    async with running(settings(trusted_proxies=("10.0.0.1",))) as server:
        seen, _ = await whoami(server, PROXIED | {"Host": "elsewhere.example"})
    assert seen["address"] == {"value": "127.0.0.1", "how": "the address of the peer", "uncertain": False}
    assert seen["secure"]["value"] is False and seen["secure"]["how"].startswith("neither TLS here")
    assert seen["virtual_host"]["value"] == [] and "'elsewhere.example'" in seen["virtual_host"]["how"]
    assert seen["host_meta"]["value"] == [] and "'elsewhere.example'" in seen["host_meta"]["how"]
    assert seen["websocket"] == "ws://elsewhere.example/xmpp-websocket"
    (note,) = seen["notes"]
    assert "not in trusted_proxies" in note


async def test_a_default_host_is_named_as_such() -> None:
    async with running(settings(default_host="example.org")) as server:
        seen, _ = await whoami(server, {"Host": "elsewhere.example"})
    assert seen["virtual_host"]["value"] == ["example.org"]
    assert "default_host" in seen["virtual_host"]["how"]


async def test_long_headers_are_cut() -> None:
    async with running(settings()) as server:
        seen, _ = await whoami(server, {"Host": "chat.example.com", "X-Forwarded-For": "1" * 5000})
    assert all(len(value) <= 100 for _, value in seen["headers"])


async def test_without_the_console_there_is_nothing() -> None:
    async with running(settings(console=False)) as server, ClientSession() as session:
        for path in ("/console/whoami.json", "/console/"):
            async with session.get(server.http + path) as answer:
                assert answer.status == 404
