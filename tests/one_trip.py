"""What a client of SASL2, Bind 2, FAST and upgrade tasks says and hears (XEP-0388, XEP-0386, XEP-0484, XEP-0480)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from xml.etree import ElementTree

from clients import HASHES, Client
from resuming import SM
from scram_client import ScramClient
from servers import PASSWORDS

SASL2 = "{urn:xmpp:sasl:2}"
BIND2 = "{urn:xmpp:bind:0}"
FAST = "{urn:xmpp:fast:0}"
UPGRADE = "{urn:xmpp:sasl:upgrade:0}upgrade"
SALT = "{urn:xmpp:scram-upgrade:0}salt"
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
ENABLE = f"<enable xmlns='{SM}' resume='true'/>"
WEB = "d4565fa7-4d72-4749-b3d3-740edbf87770"
PHONE = "5d2bdc4e-3b55-4a8e-8e6c-6d7e1a5d2c11"
WANTED = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"


def bind(*features: str, tag: str = "Web") -> str:
    """Write a request for a resource."""
    return f"<bind xmlns='urn:xmpp:bind:0'><tag>{tag}</tag>{''.join(features)}</bind>"


def resume(id: str, h: int) -> str:
    """Write a request to go on with a session."""
    return f"<resume xmlns='{SM}' previd='{id}' h='{h}'/>"


def upgrade(*mechanisms: str) -> str:
    """Write an offer of keys for mechanisms."""
    return "".join(f"<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-{name}</upgrade>" for name in mechanisms)


async def do_task(client: Client, go_on: ElementTree.Element, password: str) -> ElementTree.Element:
    """Give the keys that a `<continue/>` asks for; return what comes next: another one, success or failure."""
    (task,) = [each.text or "" for each in go_on.iter(f"{SASL2}task")]
    await client.send(f"<next xmlns='urn:xmpp:sasl:2' task='{task}'/>")
    data = await client.receive()
    salt = data.find(SALT)
    assert salt is not None, ElementTree.tostring(data)
    name, iterations = HASHES[task.removeprefix("UPGR-")], int(salt.get("iterations") or "")
    salted = b64encode(hashlib.pbkdf2_hmac(name, password.encode(), b64decode(salt.text or ""), iterations)).decode()
    hash = f"<hash xmlns='urn:xmpp:scram-upgrade:0'>{salted}</hash>"
    await client.send(f"<task-data xmlns='urn:xmpp:sasl:2'>{hash}</task-data>")
    return await outcome(client, await client.receive())


async def ask(
    client: Client, mechanism: str, initial: bytes, content: str = "", agent: str = WEB, **attributes: str
) -> ElementTree.Element:
    """Send an `<authenticate/>` and return what comes next."""
    said = "".join(f" {name}='{value}'" for name, value in attributes.items())
    await client.send(
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'{said}>"
        f"<initial-response>{b64encode(initial).decode()}</initial-response>"
        f"<user-agent id='{agent}'><software>Test</software></user-agent>{content}</authenticate>"
    )
    return await client.receive()


async def log_in(
    client: Client,
    content: str = "",
    *,
    name: str = "alice",
    password: str = "",
    mechanism: str = "PLAIN",
    agent: str = WEB,
) -> ElementTree.Element:
    """Open the stream and log in with a password; return success or failure, and read the features behind a success."""
    await client.open()
    password = password or PASSWORDS[name]
    if mechanism == "PLAIN":
        return await outcome(client, await ask(client, mechanism, f"\0{name}\0{password}".encode(), content, agent))
    scram = ScramClient(HASHES[mechanism], name, password)
    challenge = await ask(client, mechanism, scram.first, content, agent)
    assert challenge.tag == f"{SASL2}challenge", ElementTree.tostring(challenge)
    final = b64encode(scram.final(b64decode(challenge.text or ""))).decode()
    await client.send(f"<response xmlns='urn:xmpp:sasl:2'>{final}</response>")
    ended = await outcome(client, await client.receive())
    if ended.tag == f"{SASL2}success":
        assert scram.accepts(b64decode(ended.findtext(f"{SASL2}additional-data") or ""))
    return ended


async def show(
    client: Client,
    token: str,
    content: str = "",
    *,
    name: str = "alice",
    agent: str = WEB,
    attributes: str = "",
    mechanism: str = "HT-SHA-256-NONE",
) -> ElementTree.Element:
    """Open the stream and log in with a token; return success or failure."""
    await client.open()
    shown = hmac.digest(token.encode(), b"Initiator", "sha256")
    fast = f"<fast xmlns='urn:xmpp:fast:0' {attributes}/>"
    ended = await outcome(client, await ask(client, mechanism, f"{name}\0".encode() + shown, fast + content, agent))
    if ended.tag == f"{SASL2}success":
        answer = b64decode(ended.findtext(f"{SASL2}additional-data") or "")
        assert answer == hmac.digest(token.encode(), b"Responder", "sha256")
    return ended


async def outcome(client: Client, ended: ElementTree.Element) -> ElementTree.Element:
    """Take what ends an exchange; behind a success, features follow."""
    if ended.tag == f"{SASL2}success":
        client.jid = ended.findtext(f"{SASL2}authorization-identifier") or ""
        features = await client.receive()
        assert features.tag == "{http://etherx.jabber.org/streams}features", features.tag
    return ended


def condition(ended: ElementTree.Element) -> str:
    """Return the condition of a failure."""
    assert ended.tag == f"{SASL2}failure", ElementTree.tostring(ended)
    return ended[0].tag.rpartition("}")[2]


def token_of(success: ElementTree.Element) -> str:
    """Return the token that came with a success, "" for none."""
    assert success.tag == f"{SASL2}success", ElementTree.tostring(success)
    token = success.find(f"{FAST}token")
    return "" if token is None else token.get("token") or ""


def resumption_of(success: ElementTree.Element) -> str:
    """Return the id of the session that came with a success."""
    enabled = success.find(f"{BIND2}bound/{{{SM}}}enabled")
    assert enabled is not None and enabled.get("resume") == "true", ElementTree.tostring(success)
    return enabled.get("id") or ""
