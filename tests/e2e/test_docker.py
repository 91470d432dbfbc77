"""The container's programs in both modes: the server as its image runs it, behind nginx as compose.yaml runs it."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import WSServerHandshakeError

from clients import Client
from docker_files import DOCKER, compose
from docker_image import Image, built, edited
from proxies import Proxy, free_port, nginx, replaced
from servers import PASSWORDS, Program

# Packages come from an index, which may be slow.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ADDRESS = "127.0.0.2"
FORGED = "203.0.113.9"
TOKEN = "token-of-the-query"
MODES = {"local": ("localhost", "localhost"), "production": ("example.com", "chat.example.com")}


@dataclass(frozen=True)
class Front:
    """nginx: its port without TLS, the one with it, and that of its own health check; its files are in a directory."""

    plain: int
    proxy: Proxy
    health: int
    directory: Path

    def base(self, mode: str) -> str:
        """The URL that clients begin with."""
        return f"http://localhost:{self.plain}" if mode == "local" else self.proxy.url("")

    def logged(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")


@asynccontextmanager
async def fronting(mode: str, upstream: int, directory: Path) -> AsyncIterator[Front]:
    """Run Debian's nginx with the files and the command line of compose.yaml, in front of a port."""
    directory.mkdir()
    context = with_certificate(directory)
    front = Front(free_port(), Proxy(free_port(), context), free_port(), directory)
    for name in ("common.conf", f"{mode}.conf"):
        (directory / name).write_text((DOCKER / "nginx" / name).read_text(encoding="utf-8"), encoding="utf-8")
    edited(
        directory / "common.conf",
        replaced("/tmp/", f"{directory}/"),
        replaced("/dev/stdout", f"{directory}/access.log"),
        replaced("xmppws:8080", f"127.0.0.1:{upstream}"),
        replaced("127.0.0.1:8081", f"127.0.0.1:{front.health}"),
    )
    edited(
        directory / f"{mode}.conf",
        replaced("/tmp/", f"{directory}/"),
        replaced("error_log stderr warn;", f"error_log stderr notice; error_log {directory}/error.log warn;"),
        replaced("error_log stderr crit;", f"error_log {directory}/error.log crit;"),
        replaced("listen 8080;", f"listen 127.0.0.1:{front.plain};"),
    )
    if mode == "production":
        edited(
            directory / "production.conf",
            replaced("listen 8443 ssl;", f"listen 127.0.0.1:{front.proxy.port} ssl;"),
            replaced("/etc/nginx/certificates", str(directory)),
            replaced("/var/www/acme", str(directory)),
        )
    _, *command = compose({"MODE": mode})["services"]["nginx"]["entrypoint"]
    async with nginx([word.replace("/etc/xmppws-nginx", str(directory)) for word in command], directory):
        yield front


def with_certificate(directory: Path) -> ssl.SSLContext:
    """Write a certificate, and what an ACME client writes; return what trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("chat.example.com")
    (directory / "fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(directory / "privkey.pem")
    challenges = directory / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("thumbprint", encoding="utf-8")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_both_modes_run_behind_nginx(tmp_path: Path) -> None:
    image = built(tmp_path / "image")
    for mode in MODES:
        await check_mode(image, mode, tmp_path / mode)
    await check_refusals(image)


async def check_mode(image: Image, mode: str, directory: Path) -> None:
    domain, _ = MODES[mode]
    variables = image.environment(mode)
    code, said = await image.health(variables)
    assert code == 1 and "no answer from" in said
    add = ("user", "add", f"alice@{domain}", "--password-stdin")
    added = await image.entrypoint(*add, variables=variables, stdin=PASSWORDS["alice"])
    assert added == (0, f"added alice@{domain}\n")
    async with fronting(mode, image.port, directory) as front:
        async with image.running(variables) as server:
            assert await image.health(variables) == (0, "")
            await check_login(front, server, mode)
            await check_pages(front, mode)
        await check_logs(image, front, mode)


async def check_login(front: Front, server: Program, mode: str) -> None:
    """Log in from an allowed page; the address is the client's own, whatever it says itself."""
    domain, _ = MODES[mode]
    origin = "http://localhost:8080" if mode == "local" else "https://www.example.com"
    url = f"{front.base(mode)}/xmpp-websocket"
    async with front.proxy.session(ADDRESS) as session:
        headers = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}", "X-Real-IP": FORGED}
        async with session.ws_connect(url, protocols=("xmpp",), origin=origin, headers=headers) as socket:
            client = Client(socket, domain)
            assert (await client.login("alice", PASSWORDS["alice"])).startswith(f"alice@{domain}/")
            await client.close()
        with pytest.raises(WSServerHandshakeError, match="403"):
            await session.ws_connect(url, protocols=("xmpp",), origin="https://evil.example")
    await server.logged(rf"login=success address={ADDRESS} ")
    await server.logged(rf"refused address={ADDRESS} status=403")


async def check_pages(front: Front, mode: str) -> None:
    """See what the public gets, and that links in host-meta lead back here."""
    base = front.base(mode)
    public = mode == "local"
    async with front.proxy.session(ADDRESS) as session:
        assert await status(session, f"{base}/health/ready") == (200 if public else 404)
        assert await status(session, f"{base}/metrics") == 404
        assert await status(session, f"{base}/console/") == (200 if public else 404)
        async with session.get(f"{base}/.well-known/host-meta.json") as answer:
            links = [link["href"] for link in (await answer.json(content_type=None))["links"]]
        assert links == [f"{base.replace('http', 'ws', 1)}/xmpp-websocket"]
        assert await status(session, f"http://127.0.0.1:{front.health}/") == 204
        if mode == "production":
            plain = f"http://chat.example.com:{front.plain}"
            assert await status(session, f"{plain}/.well-known/acme-challenge/token") == 200
            async with session.get(f"{plain}/a?b=c", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, "https://chat.example.com/a?b=c")


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status


async def check_logs(image: Image, front: Front, mode: str) -> None:
    """Look for the newest errors where they should be, and for tokens where they should not; the server is stopped."""
    lines = Path(image.moved("/var/lib/xmppws/logs/errors.log")).read_text(encoding="utf-8").splitlines()
    assert 0 < len(lines) <= 400
    assert any(json.loads(line).get("status") == 403 for line in lines)
    base = front.base(mode)
    async with front.proxy.session(ADDRESS) as session:
        assert await status(session, f"{base}/ws?token={TOKEN}") == 502
        assert await status(session, f"{base}/other?shown") == 502
    access, errors = front.logged("access.log"), front.logged("error.log")
    assert "GET /ws HTTP/1.1" in access and TOKEN not in access + errors
    # Without its own error_log, the token would stand here too.
    assert "/other?shown" in errors


async def check_refusals(image: Image) -> None:
    """Tell what is wrong with variables, by their names."""
    unknown = image.environment("local", MODE="staging")
    assert await image.entrypoint("serve", variables=unknown) == (
        1,
        "MODE is 'staging': must be local or production\n",
    )
    code, said = await image.entrypoint(
        "check-config", variables=image.environment("local", XMPPWS_HTTP_LISTEN="127.0.0.1:1")
    )
    assert code == 1 and "LETSHARE_SERVER_PORT: says something else than XMPPWS_HTTP_LISTEN" in said
    # Who has read conf/local.toml could make tokens.
    known = "local-development-only-everybody-knows-this-secret"
    variables = image.environment("production", LETSHARE_JWT_SECRET=known, XMPPWS_AUTHENTICATION="jwt")
    code, said = await image.entrypoint("check-config", variables=variables)
    assert code == 1 and "LETSHARE_JWT_SECRET" in said and known not in said
    variables["LETSHARE_JWT_SECRET"] = "m8Zk0vQ2rT5yWx7Ba4Cd6Ef9Gh1Jk3LnPqRs"
    assert (await image.entrypoint("check-config", variables=variables))[0] == 0
    minted = await image.entrypoint("token", "alice@example.com", variables=variables)
    assert minted[0] == 0 and minted[1].count(".") == 2
