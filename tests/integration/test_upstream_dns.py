"""Asking a real name server for the servers of a domain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from random import Random

import pytest
from dns.rdatatype import RdataType

from nameserver import NEGATIVE_TTL, NameServer, name_server
from waiting import until
from xmppws.routers.upstream.dane import Tlsa
from xmppws.routers.upstream.dns import FAILURE_TTL, MAX_RECORDS, Resolver
from xmppws.routers.upstream.errors import NameServerError, NoAddress, NoNameServerAnswered, NoSuchName, NotOffered
from xmppws.routers.upstream.targets import Target

DOMAIN = "example.test"
STARTTLS, DIRECT = f"_xmpp-client._tcp.{DOMAIN}", f"_xmpps-client._tcp.{DOMAIN}"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        yield server


@pytest.fixture
async def resolver(server: NameServer, clock: Clock) -> AsyncIterator[Resolver]:
    resolver = Resolver([server.address], timeout=1.0, clock=clock)
    yield resolver
    await resolver.close()


async def targets(resolver: Resolver, domain: str = DOMAIN) -> list[str]:
    return [str(target) for target in await resolver.client_targets(domain, Random(0))]


async def addresses(resolver: Resolver, target: Target) -> list[tuple[str, ...]]:
    async with aclosing(resolver.addresses(target)) as found:
        return [batch async for batch in found]


# SRV


async def test_both_services_are_one_tree(server: NameServer, resolver: Resolver) -> None:
    server.add(STARTTLS, "SRV", "10 0 5222 B.example.test.", "30 0 5222 d.example.test.")
    server.add(DIRECT, "SRV", "0 0 5223 a.example.test.", "20 0 443 c.example.test.")
    assert await targets(resolver) == [
        "a.example.test:5223 (direct TLS)",
        "b.example.test:5222",
        "c.example.test:443 (direct TLS)",
        "d.example.test:5222",
    ]


async def test_no_records_fall_back_to_the_domain(server: NameServer, resolver: Resolver) -> None:
    assert await targets(resolver) == ["example.test:5222"]
    assert await targets(resolver, "Bücher.example") == ["xn--bcher-kva.example:5222"]
    assert set(server.questions) == {
        f"SRV {STARTTLS}",
        f"SRV {DIRECT}",
        "SRV _xmpp-client._tcp.xn--bcher-kva.example",
        "SRV _xmpps-client._tcp.xn--bcher-kva.example",
    }


@pytest.mark.parametrize(
    ("domain", "shown"), [("192.0.2.1", "192.0.2.1:5222"), ("[2001:db8::1]", "[2001:db8::1]:5222")]
)
async def test_an_address_is_not_asked_for(domain: str, shown: str, server: NameServer, resolver: Resolver) -> None:
    assert await targets(resolver, domain) == [shown]
    assert server.questions == []


async def test_what_cannot_be_a_name_is_no_name(resolver: Resolver) -> None:
    with pytest.raises(NoSuchName, match="cannot be a name in DNS"):
        await targets(resolver, "a" * 70 + "\u00fc.example")
    with pytest.raises(NameServerError, match="gave no answer"):
        await targets(resolver, "a" * 70 + ".example")


async def test_a_dot_is_no_service(server: NameServer, resolver: Resolver) -> None:
    server.add(STARTTLS, "SRV", "0 0 0 .")
    with pytest.raises(NotOffered):
        await targets(resolver)


async def test_an_answer_for_one_service_is_enough(server: NameServer, resolver: Resolver) -> None:
    server.add(STARTTLS, "SRV", "0 0 5222 a.example.test.")
    server.failing = {DIRECT}
    assert await targets(resolver) == ["a.example.test:5222"]


async def test_a_failure_is_no_reason_to_fall_back(server: NameServer, resolver: Resolver) -> None:
    server.failing = {STARTTLS}
    with pytest.raises(NameServerError, match=rf"^the name servers gave no answer for {STARTTLS}: .*SERVFAIL"):
        await targets(resolver)


async def test_silence_is(server: NameServer, resolver: Resolver) -> None:
    server.dropped = {STARTTLS, DIRECT}
    assert await targets(resolver) == ["example.test:5222"]


async def test_truncated_answers_come_by_tcp(server: NameServer, resolver: Resolver) -> None:
    server.add(STARTTLS, "SRV", *(f"{number} 0 5222 h{number}.example.test." for number in range(60)))
    assert (await targets(resolver))[:2] == ["h0.example.test:5222", "h1.example.test:5222"]
    assert server.by_tcp == [f"SRV {STARTTLS}"]


async def test_a_flood_of_records_is_cut(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", *(f"192.0.2.{number}" for number in range(250)))
    assert len((await resolver.ask("a.example.test", RdataType.A)).records) == MAX_RECORDS


async def test_a_server_that_is_not_there_is_not_waited_for(clock: Clock) -> None:
    async with name_server() as gone:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(NameServerError):
            await Resolver([gone.address], timeout=1.0, clock=clock).ask("a.example", RdataType.A)


# Addresses


async def test_addresses_of_both_families_take_turns(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", "192.0.2.1", "192.0.2.2")
    server.add("a.example.test", "AAAA", "2001:db8::1")
    ((six, *four),) = await addresses(resolver, Target("a.example.test", 5222))
    assert six == "2001:db8::1"
    assert sorted(four) == ["192.0.2.1", "192.0.2.2"]


async def test_an_alias_is_followed(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "CNAME", "b.example.test.")
    server.add("b.example.test", "A", "192.0.2.1")
    assert await addresses(resolver, Target("a.example.test", 5222)) == [("192.0.2.1",)]


async def test_one_family_does_not_wait_for_the_other(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", "192.0.2.1")
    server.add("a.example.test", "AAAA", "2001:db8::1")
    await resolver.ask("a.example.test", RdataType.A)
    server.held = {"a.example.test"}
    async with aclosing(resolver.addresses(Target("a.example.test", 5222))) as found:
        assert await anext(found) == ("192.0.2.1",)
        server.release.set()
        assert await anext(found) == ("2001:db8::1",)
        assert await anext(found, None) is None


async def test_missing_addresses_are_told_apart(server: NameServer, resolver: Resolver) -> None:
    server.add("txt.example.test", "TXT", "text")
    server.failing = {"broken.example.test"}
    for name, error, text in (
        ("txt.example.test", NoAddress, "txt.example.test has no address in DNS"),
        ("no.example.test", NoSuchName, "there is no name no.example.test in DNS (NXDOMAIN)"),
        ("broken.example.test", NameServerError, "the name servers gave no answer for broken.example.test"),
    ):
        with pytest.raises(error) as caught:
            await addresses(resolver, Target(name, 5222))
        assert str(caught.value).startswith(text)


async def test_a_configured_host_may_stand_in_the_hosts_file(clock: Clock, server: NameServer) -> None:
    system = Resolver([], timeout=5.0, clock=clock)
    (found,) = await addresses(system, Target("localhost", 5222, configured=True))
    assert set(found) & {"127.0.0.1", "::1"}
    with pytest.raises(NameServerError, match="the system knows no address of"):
        await addresses(system, Target("a" * 70 + ".example", 5222, configured=True))
    # Name servers that are configured are asked for configured hosts too.
    server.add("localhost", "A", "127.0.0.9")
    own = Resolver([server.address], timeout=1.0, clock=clock)
    assert await addresses(own, Target("localhost", 5222, configured=True)) == [("127.0.0.9",)]


# What is remembered


async def test_an_answer_holds_as_long_as_it_says(server: NameServer, resolver: Resolver, clock: Clock) -> None:
    server.add("a.example.test", "A", "192.0.2.1", ttl=100)
    for moment, asked in ((0, 1), (99.9, 1), (100, 2), (150, 2)):
        clock.now = 1000 + moment
        assert len((await resolver.ask("a.example.test", RdataType.A)).records) == 1
        assert len(server.questions) == asked


async def test_no_ttl_is_no_memory(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", "192.0.2.1", ttl=0)
    for asked in (1, 2):
        await resolver.ask("a.example.test", RdataType.A)
        assert len(server.questions) == asked


async def test_what_is_not_there_is_remembered_for_a_while(
    server: NameServer, resolver: Resolver, clock: Clock
) -> None:
    for moment, asked in ((0, 1), (NEGATIVE_TTL - 1, 1), (NEGATIVE_TTL, 2)):
        clock.now = 1000 + moment
        assert not (await resolver.ask("a.example.test", RdataType.A)).exists
        assert len(server.questions) == asked


async def test_failures_are_remembered_for_a_moment(server: NameServer, resolver: Resolver, clock: Clock) -> None:
    server.failing = {"a.example.test"}
    for moment, asked in ((0, 1), (FAILURE_TTL - 0.1, 1), (FAILURE_TTL, 2)):
        clock.now = 1000 + moment
        with pytest.raises(NameServerError):
            await resolver.ask("a.example.test", RdataType.A)
        assert len(server.questions) == asked


async def test_many_who_ask_at_once_ask_once(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", "192.0.2.1", ttl=0)
    server.held = {"a.example.test"}
    asking = [asyncio.create_task(resolver.ask("a.example.test", RdataType.A)) for _ in range(50)]
    await until(lambda: bool(server.questions))
    asking[0].cancel()
    server.release.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert len({answer for answer in answers[1:] if not isinstance(answer, BaseException)}) == 1
    assert len(server.questions) == 1


async def test_silence_ends_in_time(server: NameServer, clock: Clock) -> None:
    server.dropped = {"a.example.test"}
    hasty = Resolver([server.address], timeout=0.2, clock=clock)
    with pytest.raises(NoNameServerAnswered, match=r"^no name server answered for a\.example\.test within 0\.2s$"):
        await hasty.ask("a.example.test", RdataType.A)


async def test_closing_ends_what_is_under_way(server: NameServer, resolver: Resolver) -> None:
    server.held = {"a.example.test"}
    asking = asyncio.create_task(resolver.ask("a.example.test", RdataType.A))
    await until(lambda: bool(server.questions))
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


# DNSSEC


async def test_a_validating_resolver_on_loopback_is_believed(server: NameServer, resolver: Resolver) -> None:
    server.validated = True
    server.add(STARTTLS, "SRV", "0 0 5222 a.example.test.")
    server.add("a.example.test", "A", "192.0.2.1")
    server.add("_5222._tcp.a.example.test", "TLSA", "3 1 1 " + "ab" * 32)
    (target,) = await resolver.client_targets(DOMAIN, Random(0))
    assert target.validated
    assert await resolver.tlsa(target.host, 5222) == (Tlsa(3, 1, 1, b"\xab" * 32),)
    assert await resolver.tlsa(target.host, 5223) == ()
    assert await resolver.tlsa("192.0.2.1", 5222) == ()


async def test_without_validation_there_are_no_tlsa_records(server: NameServer, resolver: Resolver) -> None:
    server.add("a.example.test", "A", "192.0.2.1")
    server.add("_5222._tcp.a.example.test", "TLSA", "3 1 1 " + "ab" * 32)
    assert await resolver.tlsa("a.example.test", 5222) == ()
    assert "TLSA _5222._tcp.a.example.test" not in server.questions


async def test_tlsa_records_that_cannot_be_looked_up_are_an_error(server: NameServer, resolver: Resolver) -> None:
    server.validated = True
    server.add("a.example.test", "A", "192.0.2.1")
    server.failing = {"_5222._tcp.a.example.test"}
    with pytest.raises(NameServerError):
        await resolver.tlsa("a.example.test", 5222)
