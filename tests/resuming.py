"""What a client of XEP-0198 says and hears, for the tests of resumption."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from clients import SASL, Client
from servers import PASSWORDS, Running
from waiting import until
from xmppws.jid import Jid

SM = "urn:xmpp:sm:3"
FAILED = f"{{{SM}}}failed"
RESUMED = f"{{{SM}}}resumed"


async def enable(client: Client) -> str:
    """Enable stream management with resumption, and return the id."""
    await client.send(f"<enable xmlns='{SM}' resume='true'/>")
    enabled = await client.receive_until("enabled")
    assert enabled.get("resume") == "true"
    return enabled.get("id") or ""


async def handled(client: Client) -> int:
    """Ask how many stanzas the server has handled."""
    await client.send(f"<r xmlns='{SM}'/>")
    return int((await client.receive_until("a")).get("h") or -1)


async def acknowledge(client: Client, h: int) -> None:
    await client.send(f"<a xmlns='{SM}' h='{h}'/>")


async def authenticated(client: Client, name: str, password: str = "", mechanism: str = "SCRAM-SHA-256") -> None:
    """Log in, without a resource."""
    await client.open()
    outcome = await client.authenticate(name, password or PASSWORDS[name], mechanism)
    assert outcome.tag == f"{{{SASL}}}success", ElementTree.tostring(outcome)
    await client.open()


async def resume(client: Client, id: str, h: int, name: str = "alice") -> ElementTree.Element:
    """Log in and resume; return the answer."""
    await authenticated(client, name)
    return await ask_to_resume(client, id, h)


async def ask_to_resume(client: Client, id: str, h: int) -> ElementTree.Element:
    await client.send(f"<resume xmlns='{SM}' previd='{id}' h='{h}'/>")
    answer = await client.receive()
    assert answer.tag in (RESUMED, FAILED), ElementTree.tostring(answer)
    return answer


async def cut(client: Client) -> None:
    """Lose the connection without a word."""
    connection: Any = client.socket._response.connection
    connection.transport.abort()


def sessions_of(server: Running, name: str = "alice", host: str = "localhost") -> Any:
    return server.server.hosts[host].sessions.of(Jid.parse(f"{name}@{host}"))


def resumptions_of(server: Running, host: str = "localhost") -> Any:
    router: Any = server.server.endpoint.routers[host]
    return router.resumptions


async def asleep(server: Running, number: int = 1) -> None:
    """Wait until so many sessions hibernate."""
    await until(lambda: len(resumptions_of(server)) == number)
    router: Any = server.server.endpoint.routers["localhost"]
    assert router.hibernating.value == number


def assert_nothing_is_left(server: Running) -> None:
    """Make sure that no session is remembered anywhere."""
    resumptions = resumptions_of(server)
    assert (resumptions._by_digest, resumptions._digests, resumptions._hibernating) == ({}, {}, {})
    assert len(server.server.hosts["localhost"].sessions) == 0
    router: Any = server.server.endpoint.routers["localhost"]
    assert router.hibernating.value == 0
