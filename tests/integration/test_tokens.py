"""Log-in with JSON Web Tokens on real sockets: from `xmppws token` to the end of the session."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import jose
from clients import CLIENT, SASL, connected, logged_in
from issuer import issuing
from jose import SECRET, hs256, signer, token
from servers import PASSWORDS, Running, config, program, running
from xmppws.cli.main import main
from xmppws.config import Config, Host, Jwt
from xmppws.core.expiry import Expiry
from xmppws.jid import Jid

NAMES = ("127.0.0.1", "localhost")
BOTH = ("jwt", "internal")


def claims(sub: str = "alice", **more: Any) -> dict[str, Any]:
    return {"sub": sub, "exp": time.time() + 60, **more}


def made(sub: str = "alice", **more: Any) -> str:
    return token(claims(sub, **more), hs256())


def settings(*authentication: str, **jwt: Any) -> Config:
    host = Host(http_host=NAMES, authentication=authentication or ("jwt",), jwt=Jwt(**({"secret": SECRET} | jwt)))
    return config(hosts={"localhost": host})


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(settings()) as started:
        yield started


def mechanisms(features: ElementTree.Element) -> list[str]:
    return [text.strip() for text in features[0].itertext() if text.strip()]


def condition(outcome: ElementTree.Element) -> str:
    assert outcome.tag == f"{{{SASL}}}failure", outcome.tag
    return outcome[0].tag.rpartition("}")[2]


async def test_what_a_host_of_tokens_offers(server: Running) -> None:
    async with connected(server.url) as client:
        assert mechanisms(await client.open()) == ["PLAIN", "OAUTHBEARER"]


async def test_messages_go_between_those_who_have_shown_a_token(server: Running) -> None:
    async with (
        logged_in(server.url, "alice", made(device="phone"), mechanism="OAUTHBEARER") as alice,
        logged_in(server.url, "bob", made("Bob@localhost", device="desk"), mechanism="PLAIN", resource="own") as bob,
    ):
        assert (alice.jid, bob.jid) == ("alice@localhost/phone", "bob@localhost/own")
        await alice.message("bob@localhost", "hello")
        assert await bob.body() == "hello"
        # Who was never here has no mailbox.
        await alice.message("carol@localhost", "hello")
        returned = await alice.receive_until("message")
        assert returned.get("type") == "error"
        assert returned.find(f"{CLIENT}error/{{urn:ietf:params:xml:ns:xmpp-stanzas}}service-unavailable") is not None
        (session,) = server.server.hosts["localhost"].sessions.of(Jid.parse("alice@localhost"))
        assert session.identity is not None and session.identity.claims["device"] == "phone"
    async with logged_in(server.url, "carol", made("carol"), mechanism="OAUTHBEARER") as carol:
        await carol.close()
    async with logged_in(server.url, "bob", made("bob"), mechanism="PLAIN") as bob:
        await bob.message("carol@localhost", "for later")
        assert await server.server.hosts["localhost"].exists("carol")
        async with logged_in(server.url, "", made("carol"), mechanism="OAUTHBEARER", presence=False) as carol:
            await carol.send("<presence xmlns='jabber:client'/>")
            assert await carol.body() == "for later"


async def test_two_tabs_with_one_token_do_not_end_each_other(server: Running) -> None:
    shown = made(device="tab")
    async with (
        logged_in(server.url, "", shown, mechanism="OAUTHBEARER") as one,
        logged_in(server.url, "", shown, mechanism="OAUTHBEARER") as other,
    ):
        assert one.jid == "alice@localhost/tab" and other.jid.startswith("alice@localhost/tab.")
        await other.message(one.jid, "still here")
        assert await one.body() == "still here"


async def test_tokens_and_passwords_side_by_side(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xmppws.audit")
    async with running(settings(*BOTH)) as server:
        async with connected(server.url) as client:
            assert mechanisms(await client.open()) == ["PLAIN", "OAUTHBEARER"]
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], mechanism="PLAIN", resource="password") as alice,
            logged_in(server.url, "alice", made(), mechanism="PLAIN", resource="token") as same,
            logged_in(server.url, "dave", made("dave"), mechanism="OAUTHBEARER"),
        ):
            await alice.message(same.jid, "to myself")
            assert await same.body() == "to myself"
        async with connected(server.url) as client:
            await client.open()
            assert condition(await client.authenticate("alice", "wrong", "PLAIN")) == "not-authorized"
    logins = [(record.__dict__["action"], record.__dict__.get("provider")) for record in caplog.records]
    assert logins == [("login", "internal"), ("login", "jwt"), ("login", "jwt"), ("login-failed", None)]


async def test_the_audit_tells_who_lets_in_by_every_mechanism(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xmppws.audit")
    hosts = {"localhost": Host(http_host=NAMES, authentication=("internal", "anonymous"))}
    async with running(config(hosts=hosts)) as server:
        for mechanism, name in (("SCRAM-SHA-256", "alice"), ("PLAIN", "alice"), ("ANONYMOUS", "")):
            async with logged_in(server.url, name, PASSWORDS.get(name, ""), mechanism=mechanism):
                pass
    found = [(record.__dict__["mechanism"], record.__dict__["provider"]) for record in caplog.records]
    assert found == [("SCRAM-SHA-256", "internal"), ("PLAIN", "internal"), ("ANONYMOUS", "anonymous")]


# Made when the test runs: tokens do not last for a whole run of all tests.
REFUSED: dict[str, Callable[[], str]] = {
    "its signature is wrong": lambda: token(claims(), hs256("x" * 32)),
    "no key here has its algorithm": lambda: token(claims(), lambda data: b"", "none"),
    "it has expired": lambda: token({**claims(), "exp": 1}, hs256()),
    "it does not say when it expires": lambda: token({"sub": "alice"}, hs256()),
    "it is not valid yet": lambda: token({**claims(), "nbf": time.time() + 3600}, hs256()),
    "it is for another audience": lambda: token({**claims(), "aud": "others"}, hs256()),
    "its user belongs to another host": lambda: token(claims("alice@example.org"), hs256()),
    "it is no signed token": lambda: "no.token.at-all",
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "PLAIN"])
async def test_refusals(mechanism: str, why: str, server: Running, caplog: pytest.LogCaptureFixture) -> None:
    shown = REFUSED[why]()
    caplog.set_level(logging.DEBUG)
    async with connected(server.url) as client:
        await client.open()
        for _ in range(2):
            outcome = await client.authenticate("alice", shown, mechanism)
            assert condition(outcome) == "not-authorized"
            assert len(outcome) == 1, "no text that helps to guess"
        await client.authenticate("alice", shown, mechanism)
        assert (await client.expect_end())[1:] == ("too-many-attempts: Too many attempts to log in failed", 1008)
    texts = [record.getMessage() for record in caplog.records]
    assert sum(why in text for text in texts) == 3
    assert [record.__dict__["action"] for record in caplog.records if record.name == "xmppws.audit"] == [
        "login-failed"
    ] * 3
    assert not any(len(part) > 8 and part in caplog.text for part in shown.split("."))


async def test_a_token_of_somebody_else(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with connected(server.url) as client:
        await client.open()
        assert condition(await client.authenticate("bob", made(), "PLAIN")) == "not-authorized"
        assert condition(await client.authenticate("bob", made(), "OAUTHBEARER")) == "invalid-authzid"
        assert (await client.authenticate("alice", made(), "OAUTHBEARER")).tag == f"{{{SASL}}}success"
    assert "the token is refused: it is for another user" in caplog.text


async def test_a_token_is_seen_nowhere(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = made(secret_claim="not for logs")
    for mechanism in ("OAUTHBEARER", "PLAIN"):
        async with logged_in(server.url, "alice", shown, mechanism=mechanism) as client:
            await client.close()
    written = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "login=success" in written
    assert not any(part in written for part in (*shown.split("."), "not for logs", SECRET))


async def test_a_client_that_leaves_after_a_refusal_has_failed(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xmppws.audit")
    async with connected(server.url) as client:
        await client.open()
        await client.send(
            f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>bixhPWFsaWNlQGxvY2FsaG9zdCwBYXV0aD1CZWFyZXIgdAEB</auth>"
        )
        challenge = await client.receive()
        assert challenge.tag == f"{{{SASL}}}challenge"
        await client.close()
    (record,) = caplog.records
    assert (record.__dict__["action"], record.__dict__["user"]) == ("login-failed", "alice@localhost")


def ends(server: Running) -> list[Expiry]:
    """Return the ends of tokens that are waited for."""
    slots = server.server.endpoint.deadlines._slots
    return [timed for slot in slots.values() for timed in slot if isinstance(timed, Expiry)]


async def test_the_end_of_a_token_is_the_end_of_its_session() -> None:
    async with running(settings(leeway=0)) as server:
        async with (
            logged_in(server.url, "", made(exp=time.time() + 3600), mechanism="OAUTHBEARER") as late,
            logged_in(server.url, "", made(exp=time.time() + 3), mechanism="OAUTHBEARER") as client,
            logged_in(server.url, "", made("bob", exp=time.time() + 7200), mechanism="OAUTHBEARER") as gone,
        ):
            assert len(ends(server)) == 3
            await gone.close()
            assert len(ends(server)) == 2
            told = ("not-authorized", "token-expired: Log in again with a new token", 1008)
            assert await client.expect_end() == told
            assert len(ends(server)) == 1
            await late.message(late.jid, "still here")
            assert await late.body() == "still here"


async def test_keys_change_while_the_server_runs(caplog: pytest.LogCaptureFixture) -> None:
    old, new = jose.rsa_key(), jose.ec_key()
    async with issuing(jose.jwks(jose.jwk(old, kid="1"))) as issuer:
        async with running(settings(secret="", jwks_url=issuer.url)) as server:
            first = token(claims(), signer(old), "RS256", kid="1")
            second = token(claims(), signer(new), "ES256", kid="2")
            async with logged_in(server.url, "", first, mechanism="OAUTHBEARER"):
                issuer.body = jose.jwks(jose.jwk(new, kid="2"))
                await server.server.reload()
                async with logged_in(server.url, "", second, mechanism="OAUTHBEARER"):
                    pass
            async with connected(server.url) as client:
                await client.open()
                assert condition(await client.authenticate("", first, "OAUTHBEARER")) == "not-authorized"
            assert issuer.fetches == 2


async def test_nobody_can_say_without_keys() -> None:
    async with issuing(b"") as issuer, running(settings(secret="", jwks_url=issuer.url)) as server:
        async with connected(server.url) as client:
            await client.open()
            shown = token(claims(), signer(jose.ec_key()), "ES256")
            for mechanism in ("OAUTHBEARER", "PLAIN"):
                assert condition(await client.authenticate("alice", shown, mechanism)) == "temporary-auth-failure"


# --- the program ---


def configured(directory: Path, jwt: str, *, authentication: str = '["jwt"]') -> Path:
    file = directory / "xmppws.toml"
    file.write_text(
        f'data_dir = "{directory}"\nmetrics.listen = []\nauthentication = {authentication}\n'
        '[log]\nlevel = "debug"\naudit_file = "audit.log"\n'
        '[http]\nlisten = ["127.0.0.1:0"]\nconsider_websocket_secure = true\n'
        f'[jwt]\n{jwt}\n[hosts.localhost]\nhttp_host = ["localhost", "127.0.0.1"]\n'
        '[hosts.other]\nauthentication = ["internal"]\n'
    )
    return file


async def test_a_whole_life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = configured(tmp_path, 'secret = { file = "secret" }\nissuer = "us"\nleeway = 0')

    def minted(*expires: str) -> str:
        command = ["token", "-c", str(file), "Alice@localhost", "--device", "phone", "--room", "lobby"]
        assert main([*command, *expires]) == 0
        return capsys.readouterr().out.strip()

    async with program(file) as server:
        long = minted()
        async with (
            logged_in(server.url, "alice", long, mechanism="PLAIN", resource="tv") as tv,
            logged_in(server.url, "alice", short := minted("--expires", "4s"), mechanism="OAUTHBEARER") as phone,
        ):
            assert phone.jid == "alice@localhost/phone"
            await tv.message(phone.jid, "hello")
            assert await phone.body() == "hello"
            assert (await phone.expect_end())[1:] == ("token-expired: Log in again with a new token", 1008)
            await server.logged("end=token-expired by=server")
        async with connected(server.url) as client:
            await client.open()
            assert condition(await client.authenticate("alice", short, "OAUTHBEARER")) == "not-authorized"
        await server.logged("the token is refused: it has expired")
    audit = (tmp_path / "audit.log").read_text()
    assert [json.loads(line).get("provider") for line in audit.splitlines()] == ["jwt", "jwt", None]
    written = audit + "\n".join(server.lines)
    assert not any(part in written for part in (*short.split("."), *long.split("."), SECRET))


@pytest.mark.parametrize("key", [jose.rsa_key(), jose.ec_key(), jose.ed_key()])
async def test_tokens_of_a_private_key(
    key: jose.PrivateKey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "private.pem").write_bytes(jose.private_pem(key))
    (tmp_path / "public.pem").write_bytes(jose.public_pem(key))
    assert main(["token", "-c", str(configured(tmp_path, 'key = "private.pem"')), "alice@localhost"]) == 0
    shown = capsys.readouterr().out.strip()
    async with running(settings(secret="", key=str(tmp_path / "public.pem"))) as server:
        async with logged_in(server.url, "alice", shown, mechanism="OAUTHBEARER") as alice:
            assert alice.jid.startswith("alice@localhost/")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alice@localhost"], "making tokens needs jwt.secret, or a private key in jwt.key"),
        (["alice@other"], "other takes no tokens: its authentication is internal"),
        (["alice@nowhere"], "nowhere is no virtual host of"),
        (["localhost"], "JID must be an address such as"),
        (["alice@localhost", "--expires", "soon"], "--expires must be a time such as"),
        (["alice@localhost", "--expires", "0s"], "--expires must be at least 1s"),
        (["alice@localhost", "--expires", "99999d"], "--expires must be at least 1s and at most"),
        (["alice@localhost", "--device", "\u200b"], "--device must be a resource"),
        (["alice@localhost", "--device", "d" * 257], "--device must have 256 characters at most"),
        (["alice@localhost", "--room", "r"], "--room: localhost has no claim for it: jwt.room_claim is empty"),
    ],
)
def test_tokens_that_cannot_be_made(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "public.pem").write_bytes(jose.public_pem(jose.ec_key()))
    file = configured(tmp_path, 'key = "public.pem"\nroom_claim = ""')
    assert main(["token", "-c", str(file), *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


async def test_a_server_with_a_bad_key_does_not_start(tmp_path: Path) -> None:
    file = configured(tmp_path, 'key = "none.pem"')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xmppws", "serve", "-c", str(file)), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert (
        err.decode().splitlines()[-1]
        == f"xmppws: jwt.key: {tmp_path}/none.pem cannot be read: No such file or directory"
    )
