"""The metrics of a real server: who may read them, what they count, and that Prometheus understands them."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families as parsed

from clients import Client, connected, logged_in
from raw import head, raw
from servers import PASSWORDS, Running, config, running
from xmppws.app import Server, StartError
from xmppws.config import Config, Host, Metrics, Storage
from xmppws.core.catalog import Catalog
from xmppws.core.loader import load
from xmppws.core.metrics import counter
from xmppws.core.module import Module
from xmppws.errors import OF_UPSTREAM, Reason
from xmppws.http.causes import Cause

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
MAN_PAGE = Path(__file__).parents[2] / "man" / "xmppws.1"
TOKEN = "figs-and-dates"


def measured(**changes: object) -> Config:
    return replace(config(), **{"metrics": Metrics(listen=("127.0.0.1:0",)), **changes})


async def scrape(server: Running, accept: str = "text/plain") -> str:
    where = server.server.metrics_addresses[0]
    async with aiohttp.ClientSession() as session:
        response = await session.get(f"http://{where}/metrics", headers={"Accept": accept})
        assert response.status == 200
        return await response.text()


def values(text: str) -> dict[str, float]:
    """Return the value of every sample by its name and labels, as the text has them."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def chat(server: Running) -> None:
    """Let alice greet bob, a stranger fail to log in, and a page without subprotocol be refused."""
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob:
            await alice.message("bob@localhost", "hello")
            assert await bob.body() == "hello"
    async with connected(server.url) as stranger:
        await stranger.open()
        await stranger.authenticate("alice", "wrong")
        await stranger.close()
    async with raw(server.port) as page:
        page.write(head(Sec_WebSocket_Protocol=None))
        await page.refusal()


async def test_what_happened_is_counted() -> None:
    async with running(measured()) as server:
        await chat(server)
        found = values(await scrape(server))
        host = 'host="localhost"'
        assert found[f'xmppws_stanzas_total{{direction="in",{host},kind="message"}}'] == 1
        assert found[f'xmppws_stanzas_total{{direction="out",{host},kind="message"}}'] == 1
        assert found[f'xmppws_logins_total{{{host},mechanism="SCRAM-SHA-256",outcome="success"}}'] == 1
        assert found[f'xmppws_logins_total{{{host},mechanism="PLAIN",outcome="success"}}'] == 1
        assert found[f'xmppws_logins_total{{{host},mechanism="SCRAM-SHA-256",outcome="not-authorized"}}'] == 1
        assert found[f"xmppws_streams_opened_total{{{host}}}"] == 3
        assert found['xmppws_handshakes_refused_total{cause="subprotocol"}'] == 1
        assert found['xmppws_streams_ended_total{by="client",host="localhost",reason="client-close"}'] == 1
        assert found['xmppws_streams_ended_total{by="client",host="localhost",reason="client-gone"}'] == 2
        assert found[f'xmppws_sessions{{{host},state="available"}}'] == 0


async def test_sessions_and_connections_by_state() -> None:
    async with running(measured()) as server, connected(server.url) as stranger, raw(server.port):
        await stranger.open()
        async with logged_in(server.url, "alice", PASSWORDS["alice"]):
            async with logged_in(server.url, "bob", PASSWORDS["bob"], presence=False):
                found = values(await scrape(server))
        assert found['xmppws_sessions{host="localhost",state="available"}'] == 1
        assert found['xmppws_sessions{host="localhost",state="unavailable"}'] == 1
        assert found['xmppws_connections{host="",state="http"}'] == 1
        assert found['xmppws_connections{host="localhost",state="stranger"}'] == 1
        assert found['xmppws_connections{host="localhost",state="established"}'] == 2


async def test_what_hosts_have_of_their_own_is_told_apart() -> None:
    hosts = {domain: Host(http_host=("127.0.0.1",)) for domain in ("a.example", "b.example")}
    async with running(replace(measured(), hosts=hosts)) as server:
        for number, domain in enumerate(hosts, 1):
            for _ in range(number):
                async with logged_in(server.url, "alice", PASSWORDS["alice"], domain=domain) as alice:
                    for _ in range(70):
                        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=domain)
                    await alice.close()
        async with connected(server.url, "c.example") as client:
            await client.open()
            await client.expect_end()
        found = values(await scrape(server))
        for number, domain in enumerate(hosts, 1):
            ended = f'xmppws_streams_ended_total{{by="client",host="{domain}",reason="client-close"}}'
            assert found[ended] == number
            assert found[f'xmppws_dispatch_seconds_count{{host="{domain}"}}'] >= number
            assert found[f'xmppws_send_buffer_bytes{{host="{domain}"}}'] == 0
        assert found['xmppws_streams_ended_total{by="server",host="",reason="host-unknown"}'] == 1


async def test_every_reason_and_cause_is_there_from_the_start() -> None:
    async with running(measured()) as server:
        found = values(await scrape(server))
        ends = {name for name in found if name.startswith("xmppws_streams_ended_total")}
        assert len(ends) == 2 * (3 * (len(Reason) - len(OF_UPSTREAM)) + len(OF_UPSTREAM)) and all(
            found[name] == 0 for name in ends
        )
        assert {found[f'xmppws_handshakes_refused_total{{cause="{cause.value}"}}'] for cause in Cause} == {0}
        for process in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
            assert found[process] > 0


async def test_round_trips_and_one_dispatch_of_64_are_timed() -> None:
    settings = replace(measured(), c2s=replace(config().c2s, ping_interval=0.1))
    async with running(settings) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        for _ in range(64):
            await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
        assert values(await scrape(server))['xmppws_dispatch_seconds_count{host="localhost"}'] == 1
        await answer_pings(server, alice)
        assert values(await scrape(server))['xmppws_ping_round_trip_seconds_count{host="localhost"}'] >= 1


async def answer_pings(server: Running, client: Client) -> None:
    """Read, which is when aiohttp's client answers pings, until one was answered."""
    reading = asyncio.ensure_future(client.receive(20))
    async with asyncio.timeout(20):
        while not server.server.endpoint.round_trips["localhost"].count:
            await asyncio.wait([reading], timeout=0.05)
    reading.cancel()


async def test_transactions_of_sqlite(tmp_path: Path) -> None:
    settings = measured(data_dir=tmp_path, storage=Storage())
    async with running(settings) as server:
        found = values(await scrape(server))
        assert found["xmppws_storage_transaction_seconds_count"] >= 1
        assert found["xmppws_storage_transaction_writes_sum"] >= 1
        assert found["xmppws_storage_writes_waiting"] == 0


async def test_metrics_of_modules_have_the_host() -> None:
    class Hello(Module):
        name = "hello"
        hits = counter("xmppws_hello_hits_total", "Greetings answered.")

    hosts = {"a.example": Host(http_host=("127.0.0.1",)), "b.example": Host()}
    async with running(replace(config(hosts=hosts), metrics=Metrics(listen=("127.0.0.1:0",)))) as server:
        for number, host in enumerate(server.server.hosts.values(), 1):
            load(host, ["hello"], Catalog({"hello": Hello}))
            hello = host.modules["hello"]
            assert isinstance(hello, Hello)
            hello.hits.inc(number)
        found = values(await scrape(server))
        hits = {domain: found[f'xmppws_hello_hits_total{{host="{domain}"}}'] for domain in hosts}
        assert hits == {"a.example": 1, "b.example": 2}


async def test_the_man_page_names_every_metric(tmp_path: Path) -> None:
    async with running(measured(data_dir=tmp_path, storage=Storage())) as server:
        text = await scrape(server)
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE xmppws_")]
    page = MAN_PAGE.read_text()
    assert len(names) > 10 and [name for name in names if name not in page] == []


async def test_two_servers_in_one_process_count_for_themselves() -> None:
    async with running(measured()) as first, running(measured()) as second:
        await chat(first)
        name = 'xmppws_streams_opened_total{host="localhost"}'
        assert (values(await scrape(first))[name], values(await scrape(second))[name]) == (3, 0)


@pytest.mark.parametrize("accept", ["text/plain;version=abc", "application/openmetrics-text;version=x", "", "a;b=;,"])
async def test_what_a_client_accepts_cannot_break_the_page(accept: str) -> None:
    async with running(measured()) as server:
        assert "xmppws_sessions" in await scrape(server, accept)


async def test_both_formats() -> None:
    async with running(measured()) as server:
        text, openmetrics = await scrape(server), await scrape(server, OPENMETRICS)
        assert openmetrics.endswith("# EOF\n") and "# EOF" not in text
        assert "xmppws_build_info{" in text and len(list(parsed(text))) > 15


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool of Debian's prometheus is not installed")
async def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    async with running(measured(data_dir=tmp_path, storage=Storage())) as server:
        await chat(server)
        text = await scrape(server)
    process = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(text.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def status(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


async def test_the_public_port_wants_the_token() -> None:
    settings = replace(config(), metrics=Metrics(listen=(), token=TOKEN))
    async with running(settings) as server:
        url = f"{server.http}/metrics"
        assert "xmppws_sessions" in (await status(url, Authorization=f"Bearer {TOKEN}"))[1]
        nothing = await status(f"{server.http}/nothing")
        assert nothing[0] == 404
        for wrong in ("", f"Bearer {TOKEN}s", f"bearer {TOKEN}", f"Basic {TOKEN}", TOKEN, "Bearer"):
            assert await status(url, Authorization=wrong) == nothing
        assert await status(f"{url}?token={TOKEN}") == nothing


async def test_without_a_token_the_public_port_has_no_metrics() -> None:
    async with running(measured()) as server:
        assert (await status(f"{server.http}/metrics", Authorization="Bearer "))[0] == 404
        where = server.server.metrics_addresses[0]
        assert (await status(f"http://{where}/xmpp-websocket"))[0] == 404


async def test_a_listener_that_cannot_listen_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = replace(config(hosts={"localhost": Host()}), metrics=Metrics(listen=(where,)))
        with pytest.raises(StartError, match=rf"metrics\.listen: cannot listen on {where}: another program"):
            await Server(settings).start()
