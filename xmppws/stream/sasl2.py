"""XEP-0388 Extensible SASL Profile 1.0.2: its elements, and those that stand in them for the client's convenience.

With its log-in a client may bind a resource (XEP-0386), resume a session (XEP-0198), ask for a token or show one
(XEP-0484), and give the server keys that it lacks (XEP-0480).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xmppws.errors import SaslMalformedRequest, UndefinedCondition
from xmppws.stream.sm import RESUME, Resume, read_resume
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.writer import text

AUTHENTICATE: Final = f"{{{ns.SASL2}}}authenticate"
NEXT: Final = f"{{{ns.SASL2}}}next"
TASK_DATA: Final = f"{{{ns.SASL2}}}task-data"

_UPGRADE_PREFIX: Final = "UPGR-"
_INITIAL_RESPONSE: Final = f"{{{ns.SASL2}}}initial-response"
_USER_AGENT: Final = f"{{{ns.SASL2}}}user-agent"
_BIND: Final = f"{{{ns.BIND2}}}bind"
_TAG: Final = f"{{{ns.BIND2}}}tag"
_FAST: Final = f"{{{ns.FAST}}}fast"
_REQUEST_TOKEN: Final = f"{{{ns.FAST}}}request-token"
_UPGRADE: Final = f"{{{ns.SASL_UPGRADE}}}upgrade"
_HASH: Final = f"{{{ns.SCRAM_UPGRADE}}}hash"
_MAX_TAG: Final = 64


@dataclass(frozen=True, slots=True)
class Inline:
    """A resource is to be bound: `tag` begins its name, and `wanted` are the features to go with it, by tag."""

    tag: str
    wanted: dict[str, Element]


@dataclass(frozen=True, slots=True)
class Fast:
    """The log-in is by a token: the `count`th with it if that is not None, and the last with it if it `invalidates`."""

    count: int | None
    invalidates: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What an `<authenticate/>` asks for.

    `agent` is the id of the client's installation, "" if it does not say. `token` is the mechanism for which it wants a
    token, "" for none; `upgrades` are mechanisms for which it can give keys.
    """

    mechanism: str
    initial: str | None
    agent: str = ""
    resume: Resume | None = None
    bind: Inline | None = None
    fast: Fast | None = None
    token: str = ""
    upgrades: tuple[str, ...] = ()


def read(root: Element) -> Request:
    """Read an `<authenticate/>`. Raises `SaslMalformedRequest`."""
    children = {tag_of(each): each for each in root}
    initial, agent = children.get(_INITIAL_RESPONSE), children.get(_USER_AGENT)
    bind, fast, token = children.get(_BIND), children.get(_FAST), children.get(_REQUEST_TOKEN)
    try:
        resume = read_resume(children[RESUME]) if RESUME in children else None
    except UndefinedCondition as error:
        raise SaslMalformedRequest(f"In <resume/>: {error}") from None
    return Request(
        root.get("mechanism", ""),
        None if initial is None else initial.text or "",
        "" if agent is None else agent.get("id", ""),
        resume,
        None if bind is None else _inline(bind),
        None if fast is None else _fast(fast),
        "" if token is None else token.get("mechanism", ""),
        # Each of them once.
        tuple(
            {
                (each.text or "").removeprefix(_UPGRADE_PREFIX): None
                for each in root
                if tag_of(each) == _UPGRADE and (each.text or "").startswith(_UPGRADE_PREFIX)
            }
        ),
    )


def _inline(bind: Element) -> Inline:
    wanted = {tag_of(each): each for each in bind}
    tag = wanted.pop(_TAG, None)
    return Inline("" if tag is None else (tag.text or "").strip()[:_MAX_TAG], wanted)


def _fast(element: Element) -> Fast:
    count = element.get("count")
    if count is not None and (not count.isdecimal() or not count.isascii() or len(count) > 10):
        raise SaslMalformedRequest("The count of a token is a number")
    return Fast(None if count is None else int(count), element.get("invalidate", "") in ("true", "1"))


def read_salted(element: Element) -> str:
    """Return what a `<task-data/>` holds: a salted password in base64, "" for something else."""
    return element.findtext(_HASH, "").strip()


def feature(
    mechanisms: Iterable[str], bind_features: Iterable[str], token_mechanisms: Iterable[str], upgrades: Iterable[str]
) -> bytes:
    """Write what is offered before log-in."""
    features = b"".join(b'<feature var="%b"/>' % each.encode() for each in (ns.STREAM_MANAGEMENT, *bind_features))
    inline = b'<bind xmlns="%b"><inline>%b</inline></bind>' % (ns.BIND2.encode(), features)
    inline += b'<sm xmlns="%b"/>' % ns.STREAM_MANAGEMENT.encode()
    if tokens := _listed(b"mechanism", token_mechanisms):
        inline += b'<fast xmlns="%b">%b</fast>' % (ns.FAST.encode(), tokens)
    possible = b"".join(
        b'<upgrade xmlns="%b">%b%b</upgrade>' % (ns.SASL_UPGRADE.encode(), _UPGRADE_PREFIX.encode(), name.encode())
        for name in upgrades
    )
    return b'<authentication xmlns="%b">%b<inline>%b</inline>%b</authentication>' % (
        ns.SASL2.encode(),
        _listed(b"mechanism", mechanisms),
        inline,
        possible,
    )


def success(identity: str, data: bytes | None, *inline: bytes) -> bytes:
    """Write that a client is logged in, as a bare JID, or as the full JID of its session."""
    return b'<success xmlns="%b">%b<authorization-identifier>%b</authorization-identifier>%b</success>' % (
        ns.SASL2.encode(),
        _additional(data),
        text(identity),
        b"".join(inline),
    )


def go_on(data: bytes | None, upgrade: str) -> bytes:
    """Write that a client may log in when it has given the keys that it offered for a mechanism."""
    return b'<continue xmlns="%b">%b<tasks><task>%b%b</task></tasks></continue>' % (
        ns.SASL2.encode(),
        _additional(data),
        _UPGRADE_PREFIX.encode(),
        upgrade.encode(),
    )


def task(upgrade: str) -> str:
    """Return the name of the task that gives keys for a mechanism."""
    return _UPGRADE_PREFIX + upgrade


def salt(salt: bytes, iterations: int) -> bytes:
    """Write what a client needs to salt its password (XEP-0480 section 3)."""
    return b'<task-data xmlns="%b"><salt xmlns="%b" iterations="%d">%b</salt></task-data>' % (
        ns.SASL2.encode(),
        ns.SCRAM_UPGRADE.encode(),
        iterations,
        b64encode(salt),
    )


def bound(*features: bytes) -> bytes:
    """Write that a resource is bound, with what its features answer."""
    return b'<bound xmlns="%b">%b</bound>' % (ns.BIND2.encode(), b"".join(features))


def token(token: str, expiry: str) -> bytes:
    """Write a token; `expiry` is its end as XEP-0082 writes times."""
    return b'<token xmlns="%b" expiry="%b" token="%b"/>' % (ns.FAST.encode(), expiry.encode(), token.encode())


def _additional(data: bytes | None) -> bytes:
    return b"" if data is None else b"<additional-data>%b</additional-data>" % b64encode(data)


def _listed(name: bytes, values: Iterable[str]) -> bytes:
    return b"".join(b"<%b>%b</%b>" % (name, value.encode(), name) for value in values)
