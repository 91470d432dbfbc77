"""FAST on real sockets: a token in place of the password (XEP-0484)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from clients import connected
from jose import SECRET, hs256
from jose import token as jwt
from one_trip import ENABLE, FAST, PHONE, SASL2, WANTED, bind, condition, log_in, resume, resumption_of, show, token_of
from resuming import RESUMED, asleep, cut, sessions_of
from servers import Running, config, running
from xmppws.config import Host, Jwt, Storage
from xmppws.core.auth import Accounts


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(config()) as started:
        yield started


async def token(server: Running, *, name: str = "alice", agent: str = "") -> str:
    """Log in with the password, and return the token that comes with that."""
    async with connected(server.url) as client:
        options = {"agent": agent} if agent else {}
        return token_of(await log_in(client, WANTED, name=name, **options))


async def shown(server: Running, token: str, content: str = "", **options: str) -> str:
    """Log in with a token: return "" or the condition of the failure, with the new token after a blank if one came."""
    async with connected(server.url) as client:
        ended = await show(client, token, content, **options)
        return token_of(ended) and f"new {token_of(ended)}" if ended.tag == f"{SASL2}success" else condition(ended)


async def test_one_round_trip(server: Running) -> None:
    given = await token(server)
    async with connected(server.url) as alice:
        success = await show(alice, given, bind(ENABLE))
        assert alice.jid.startswith("alice@localhost/Web/")
        # It is too young for a new one.
        assert token_of(success) == ""
        id = resumption_of(success)
        await cut(alice)
    await asleep(server)
    async with connected(server.url) as again:
        assert (await show(again, given, resume(id, 0) + bind(ENABLE))).find(RESUMED) is not None
        await again.message(again.jid, "here")
        assert await again.body() == "here"


async def test_when_a_token_ends_is_told(server: Running) -> None:
    async with connected(server.url) as client:
        found = (await log_in(client, WANTED)).find(f"{FAST}token")
        assert found is not None
        left = datetime.fromisoformat(found.get("expiry") or "") - datetime.now(UTC)
        assert timedelta(days=20, hours=23) < left < timedelta(days=21, minutes=1)


@pytest.mark.parametrize("options", [{"agent": PHONE}, {"name": "bob"}, {"name": "nobody"}, {"agent": ""}])
async def test_a_token_is_for_one_client_of_one_account(server: Running, options: dict[str, str]) -> None:
    assert await shown(server, await token(server), **options) == "not-authorized"


async def test_a_token_is_not_taken_for_a_password_or_by_another_mechanism(server: Running) -> None:
    given = await token(server)
    assert await shown(server, given, mechanism="HT-SHA-256-EXPR") == "invalid-mechanism"
    async with connected(server.url) as client:
        assert condition(await log_in(client, password=given)) == "not-authorized"
    assert await shown(server, given) == ""


async def test_who_does_not_say_which_client_it_is_gets_no_token(server: Running) -> None:
    async with connected(server.url) as client:
        assert token_of(await log_in(client, WANTED, agent="")) == ""


async def test_a_client_that_asks_for_another_mechanism_gets_no_token(server: Running) -> None:
    async with connected(server.url) as client:
        wanted = WANTED.replace("NONE", "EXPR")
        assert token_of(await log_in(client, wanted)) == ""


async def test_the_older_token_is_good_until_the_newer_one_is_used(server: Running) -> None:
    first = await token(server)
    assert await shown(server, first) == ""
    second = await token(server)
    assert await shown(server, first) == "" and await shown(server, second) == ""
    assert await shown(server, first) == "not-authorized"
    assert await shown(server, second) == ""


async def test_a_token_that_was_never_used_makes_room(server: Running) -> None:
    first, second = await token(server), await token(server)
    assert await shown(server, first) == "not-authorized"
    assert await shown(server, second) == ""


async def test_a_token_is_replaced_in_time() -> None:
    async with running(config(token_renewal=0.0)) as server:
        first = await token(server)
        new, _, second = (await shown(server, first)).partition(" ")
        assert new == "new" and second != first
        # It may not have come: the older one is still good, and brings the next.
        assert (await shown(server, first)).startswith("new ")
        assert await shown(server, second) == "not-authorized"


async def test_a_token_expires() -> None:
    async with running(config(token_lifetime=0.001)) as server:
        given = await token(server)
        assert await shown(server, given) == "credentials-expired"


async def test_tokens_can_be_off() -> None:
    async with running(config(token_lifetime=0.0)) as server, connected(server.url) as client:
        assert (await client.open()).find(f".//{FAST}fast") is None
    async with running(config(token_lifetime=0.0)) as server:
        assert await token(server) == ""
        assert await shown(server, "x") == "invalid-mechanism"


async def test_logging_out(server: Running) -> None:
    given = await token(server)
    assert await shown(server, given) == ""
    newer = await token(server)
    assert await shown(server, given, attributes="invalidate='true'") == ""
    assert [await shown(server, each) for each in (given, newer)] == ["not-authorized"] * 2
    given = await token(server)
    new = await shown(server, given, WANTED, attributes="invalidate='1'")
    assert new.startswith("new ")
    assert await shown(server, given) == "not-authorized"
    assert await shown(server, new.removeprefix("new ")) == ""


async def test_a_count_only_grows(server: Running) -> None:
    """XEP-0484 section 3.4: a count that was used already is somebody who has recorded the log-in."""
    given = await token(server)
    found = [await shown(server, given, attributes=f"count='{count}'") for count in (1, 1, 0, 5, 4, 6)]
    refused = "not-authorized"
    assert found == ["", refused, refused, "", refused, ""]


async def test_two_at_once(server: Running) -> None:
    given = await token(server)
    found = await asyncio.gather(*[shown(server, given, attributes="count='1'") for _ in range(5)])
    assert sorted(found) == ["", *["not-authorized"] * 4]


async def test_a_new_password_ends_all_tokens(server: Running) -> None:
    given, other = await token(server), await token(server, name="bob")
    (provider,) = [each for each in server.server.hosts["localhost"].providers if isinstance(each, Accounts)]
    await provider.set_password("alice", "another")
    assert await shown(server, given) == "not-authorized"
    assert await shown(server, other, name="bob") == ""
    await provider.delete("bob")
    assert await shown(server, other, name="bob") == "not-authorized"


async def test_so_many_clients_of_an_account() -> None:
    async with running(config(max_token_clients=3)) as server:
        tokens = {f"agent {number}": await token(server, agent=f"agent {number}") for number in range(5)}
        found = [await shown(server, given, agent=agent) for agent, given in tokens.items()]
        assert found == ["not-authorized", "not-authorized", "", "", ""]


async def test_tokens_outlive_the_server(tmp_path: Path) -> None:
    kept = replace(config(), storage=Storage(url=f"sqlite:{tmp_path}/x.sqlite"))
    async with running(kept) as server:
        given = await token(server)
    async with running(kept, new_accounts=False) as server:
        assert await shown(server, given) == ""
    # What lies on the disk lets nobody in.
    assert given.encode() not in (tmp_path / "x.sqlite").read_bytes()


async def test_what_a_token_of_the_web_app_brings_ends_with_it() -> None:
    """A session, or a token, that somebody got by showing a JSON Web Token is no longer good than that."""
    host = Host(http_host=("localhost", "127.0.0.1"), authentication=("jwt",), jwt=Jwt(secret=SECRET))
    expires = time.time() + 60
    shown_first = jwt({"sub": "alice", "exp": expires, "device": "kiosk"}, hs256())
    async with running(config(hosts={"localhost": host})) as server:
        async with connected(server.url) as client:
            found = (await log_in(client, WANTED, password=shown_first)).find(f"{FAST}token")
            assert found is not None
            ends = datetime.fromisoformat(found.get("expiry") or "").timestamp()
            assert ends == pytest.approx(expires, abs=11)
        async with connected(server.url) as client:
            await show(client, found.get("token") or "", bind())
            # The device of the token, as if it had been shown itself.
            assert client.jid == "alice@localhost/kiosk"
            (session,) = sessions_of(server)
            assert session.identity.expires == pytest.approx(expires, abs=11)
