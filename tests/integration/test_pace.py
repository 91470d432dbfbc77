"""How much one client and one address may do in a second: what is too much waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from clients import Client, connected, gather_bodies, logged_in
from servers import PASSWORDS, Running, config, running
from xmppws.config import Host, Pace

ALICE = "203.0.113.7"


def via(address: str) -> dict[str, Any]:
    """Come from another address, as one behind a proxy does."""
    return {"headers": {"X-Forwarded-For": address}}


async def flood(client: Client, to: str, number: int, size: int = 1) -> None:
    for count in range(number):
        await client.message(to, f"{count}".ljust(size, "."))


@pytest.mark.parametrize(
    ("pace", "size"),
    [(Pace(stanzas_per_second=50, burst=1), 1), (Pace(bytes_per_second=20_000, burst=1), 500)],
    ids=["stanzas", "bytes"],
)
async def test_a_flood_is_read_slowly_and_arrives_whole(pace: Pace, size: int) -> None:
    async with running(config(pace=pace)) as server:
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], **via(ALICE)) as alice,
            logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
            logged_in(server.url, "carol", PASSWORDS["carol"], **via("203.0.113.8")) as carol,
        ):
            sending = asyncio.ensure_future(flood(alice, bob.jid, 120, size))
            assert (await carol.iq("get", "<ping xmlns='urn:xmpp:ping'/>")).get("type") == "result"
            bodies = await gather_bodies(bob, 120)
            await sending
            assert [body.rstrip(".") for body in bodies] == [str(count) for count in range(120)]
        assert server.server.endpoint.slowed["localhost"] > 0


async def test_who_keeps_the_pace_is_not_slowed_down() -> None:
    async with running(config(pace=Pace(stanzas_per_second=200, burst=1))) as server:
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], **via(ALICE)) as alice,
            logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
        ):
            await flood(alice, bob.jid, 100)
            await gather_bodies(bob, 100)
        assert server.server.endpoint.slowed.total() == 0


async def test_pings_count_too() -> None:
    async with (
        running(config(pace=Pace(stanzas_per_second=50, burst=1))) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"], **via(ALICE)) as alice,
    ):
        for _ in range(100):
            await alice.socket.ping()
        assert (await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")).get("type") == "result"
        assert server.server.endpoint.slowed["localhost"] > 0


async def test_guests_may_send_less() -> None:
    hosts = {"localhost": Host(http_host=("localhost", "127.0.0.1"), authentication=("anonymous", "internal"))}
    pace = Pace(guest_stanzas_per_second=20, burst=1)
    async with running(config(hosts=hosts, pace=pace)) as server:
        async with (
            connected(server.url, **via(ALICE)) as guest,
            logged_in(server.url, "alice", PASSWORDS["alice"], **via(ALICE)) as alice,
            logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
        ):
            await guest.open()
            await guest.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
            assert (await guest.receive()).tag.endswith("}success")
            await guest.open()
            await guest.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", to="")
            await flood(alice, bob.jid, 40)
            await gather_bodies(bob, 40)
            assert server.server.endpoint.slowed.total() == 0
            await flood(guest, bob.jid, 40)
            await gather_bodies(bob, 40)
            assert server.server.endpoint.slowed.total() > 0


async def refusal(server: Running, address: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session:
        try:
            await session.ws_connect(server.url, protocols=("xmpp",), **via(address))
        except aiohttp.WSServerHandshakeError as error:
            assert error.headers is not None
            return error.status, error.headers["Retry-After"], error.message
    return 101, "", ""


async def test_an_address_has_so_many_connections() -> None:
    async with running(config(pace=Pace(connections_per_address=2))) as server:
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], **via("2001:db8:1:2::1")),
            logged_in(server.url, "bob", PASSWORDS["bob"], **via("2001:db8:1:2::2")),
        ):
            status, wait, _ = await refusal(server, "2001:db8:1:2:3::4")
            assert (status, wait) == (429, "30")
            assert (await refusal(server, "2001:db8:1:3::1"))[0] == 101
            assert (await refusal(server, "127.0.0.1"))[0] == 101
        while server.server.endpoint.connections:
            await asyncio.sleep(0)
        assert (await refusal(server, "2001:db8:1:2:3::4"))[0] == 101


async def test_an_address_connects_so_often() -> None:
    async with running(config(pace=Pace(handshakes_per_second=1, burst=2))) as server:
        answers = [await refusal(server, ALICE) for _ in range(4)]
        assert [status for status, _, _ in answers].count(429) >= 1
        assert answers[-1][:2] == (429, "1")
        assert (await refusal(server, "203.0.113.8"))[0] == 101
        assert [(await refusal(server, "127.0.0.1"))[0] for _ in range(8)] == [101] * 8


async def test_an_address_logs_in_so_often() -> None:
    async with running(config(pace=Pace(logins_per_second=1, burst=2), max_auth_attempts=20)) as server:
        for mechanism in ("PLAIN", "SCRAM-SHA-256"):
            address = f"203.0.113.{len(mechanism)}"
            async with connected(server.url, **via(address)) as client:
                await client.open()
                outcomes = [await client.authenticate("alice", "wrong", mechanism) for _ in range(4)]
                conditions = [outcome[0].tag.rpartition("}")[2] for outcome in outcomes]
                assert conditions[:2] == ["not-authorized"] * 2 and "temporary-auth-failure" in conditions
                refused = outcomes[conditions.index("temporary-auth-failure")]
                assert "try again in 1 s" in (refused[1].text or "")
        async with logged_in(server.url, "alice", PASSWORDS["alice"], **via("203.0.113.99")):
            pass


async def test_exempt_addresses_are_free() -> None:
    pace = Pace(stanzas_per_second=1, burst=1, handshakes_per_second=1, exempt=("203.0.113.0/24",))
    async with running(config(pace=pace)) as server:
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], **via(ALICE)) as alice,
            logged_in(server.url, "bob", PASSWORDS["bob"], **via(ALICE)) as bob,
        ):
            await flood(alice, bob.jid, 50)
            await gather_bodies(bob, 50)
        assert server.server.endpoint.slowed.total() == 0
