"""What has to be changed between a server and a browser, so that nothing is offered that cannot work.

A browser's WebSocket can carry no STARTTLS, no compression and no channel binding of the connection to the server
behind us. EXTERNAL would log the browser in with the certificate that we show to the server. All else passes as it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from copy import deepcopy
from types import MappingProxyType
from typing import Final

from xmppws.errors import Reason, RemoteConnectionFailed, StreamError
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.writer import serialize

FEATURES: Final = f"{{{ns.STREAM}}}features"
ERROR: Final = f"{{{ns.STREAM}}}error"
STARTTLS: Final = f"{{{ns.TLS}}}starttls"
PROCEED: Final = f"{{{ns.TLS}}}proceed"
SASL_SUCCESS: Final = f"{{{ns.SASL}}}success"
SUCCESS: Final = (SASL_SUCCESS, f"{{{ns.SASL2}}}success")
FAILURE: Final = (f"{{{ns.SASL}}}failure", f"{{{ns.SASL2}}}failure")
AUTHENTICATE: Final = (f"{{{ns.SASL}}}auth", f"{{{ns.SASL2}}}authenticate")
REFUSED: Final = (STARTTLS, f"{{{ns.COMPRESS}}}compress")
"""What a client must not send: it would change the connection that is ours."""

_REMOVED: Final = frozenset(
    {STARTTLS, f"{{{ns.COMPRESS_FEATURE}}}compression", f"{{{ns.CHANNEL_BINDING}}}sasl-channel-binding"}
)
_MECHANISM: Final = frozenset(f"{{{namespace}}}mechanism" for namespace in (ns.SASL, ns.SASL2, ns.FAST))
# XEP-0484 names the mechanisms of its tokens by hash and channel binding.
_BINDING: Final = ("-PLUS", "-EXPR", "-UNIQ", "-ENDP")
_REFUSED_MECHANISM: Final = MappingProxyType(
    {
        tag: b'<failure xmlns="%b"><invalid-mechanism xmlns="%b"/></failure>' % (namespace.encode(), ns.SASL.encode())
        for tag, namespace in zip(AUTHENTICATE, (ns.SASL, ns.SASL2), strict=True)
    }
)
_SEE_OTHER_HOST: Final = f"{{{ns.STREAM_ERRORS}}}see-other-host"
_STREAM_TEXT: Final = f"{{{ns.STREAM_ERRORS}}}text"
# RFC 6120 section 4.9.3, without those that lead elsewhere.
_CONDITIONS: Final = frozenset(
    f"{{{ns.STREAM_ERRORS}}}{name}"
    for name in (
        "bad-format bad-namespace-prefix conflict connection-timeout host-gone host-unknown improper-addressing "
        "internal-server-error invalid-from invalid-namespace invalid-xml not-authorized not-well-formed "
        "policy-violation remote-connection-failed reset resource-constraint restricted-xml system-shutdown "
        "undefined-condition unsupported-encoding unsupported-feature unsupported-stanza-type unsupported-version"
    ).split()
)
_FAILURES: Final = frozenset(
    f"{{{ns.SASL}}}{name}"
    for name in (
        "aborted account-disabled credentials-expired encryption-required incorrect-encoding invalid-authzid "
        "invalid-mechanism malformed-request mechanism-too-weak not-authorized temporary-auth-failure"
    ).split()
)
_IDENTIFIER: Final = f"{{{ns.SASL2}}}authorization-identifier"
_INITIAL: Final = f"{{{ns.SASL2}}}initial-response"


def for_browsers(features: Element) -> bytes:
    """Write stream features as a browser may see them."""
    kept = deepcopy(features)
    for element in list(_unfit(kept)):
        parent = _remove(element)
        is_empty = tag_of(element) in _MECHANISM and not any(tag_of(each) in _MECHANISM for each in parent)
        if is_empty and parent is not kept:
            # With none left there is no such way to log in.
            _remove(parent)
    return serialize(kept)


def mechanisms(features: Element) -> tuple[list[str], list[str]]:
    """Return the mechanisms that features offer to browsers, and those that they cannot use."""
    fit: list[str] = []
    unfit: list[str] = []
    for element in features.iter(*_MECHANISM):
        (unfit if _is_unfit(element.text) else fit).append((element.text or "").strip())
    return fit, unfit


def refusal(authentication: Element) -> bytes:
    """Return what answers an `<auth/>` or `<authenticate/>` with a mechanism that is not offered, b"" for others."""
    return _REFUSED_MECHANISM[tag_of(authentication)] if _is_unfit(authentication.get("mechanism")) else b""


def other_host(error: Element) -> str:
    """Return where a stream error sends the client (RFC 6120 section 4.9.3.19), "" if nowhere."""
    found = error.find(_SEE_OTHER_HOST)
    return "" if found is None else (found.text or "").strip()


def condition(error: Element) -> str:
    """Return the condition of a stream error and its text, for people."""
    names = [tag_of(each).rpartition("}")[2] for each in error if tag_of(each) != _STREAM_TEXT]
    text = (error.findtext(_STREAM_TEXT) or "").strip()
    return ": ".join(filter(None, [*names[:1], text[:200]])) or "no condition"


def failure(answer: Element) -> str:
    """Return the condition of a `<failure/>` (RFC 6120 section 6.5), for logs and metrics."""
    return next((tag_of(each).rpartition("}")[2] for each in answer if tag_of(each) in _FAILURES), "other")


def passed(error: Element) -> StreamError:
    """Return a stream error of the server's as ours, with its condition and text."""
    told = RemoteConnectionFailed(condition(error), Reason.UPSTREAM_CLOSED)
    name = next((name for each in error if (name := tag_of(each)) in _CONDITIONS), "")
    if name:
        told.condition = name.rpartition("}")[2]
    return told


def username(authentication: Element) -> str:
    """Return who an `<auth/>` or `<authenticate/>` says that it is, "" where its first message does not tell."""
    initial = authentication.findtext(_INITIAL) or authentication.text or ""
    mechanism = authentication.get("mechanism", "")
    try:
        decoded = base64.b64decode(initial, validate=True)
        # XEP-0484: the name, and behind a NUL the token's hash, which is no text.
        message = (decoded.partition(b"\0")[0] if mechanism.startswith("HT-") else decoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    if mechanism == "PLAIN":
        # RFC 4616: authorization identity, authentication identity, password.
        return message.split("\0")[1] if message.count("\0") == 2 else ""
    if mechanism.startswith("SCRAM-"):
        # RFC 5802 section 5.1.
        named = (part[2:] for part in message.split(",") if part.startswith("n="))
        return next(named, "").replace("=2C", ",").replace("=3D", "=")
    return message if mechanism.startswith("HT-") else ""


def account(success: Element, username: str, domain: str) -> str:
    """Return the account that has logged in, as far as it is known: for logs, and for limits by name."""
    told = success.findtext(_IDENTIFIER)
    try:
        return Jid.parse(told).bare.text if told else Jid.make(username, domain).text
    except InvalidJid:
        return domain


def _unfit(features: Element) -> Iterator[Element]:
    for element in features.iter():
        if tag_of(element) in _REMOVED or (tag_of(element) in _MECHANISM and _is_unfit(element.text)):
            yield element


def _remove(element: Element) -> Element:
    """Take an element out of its parent, and return that."""
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)
    return parent


def _is_unfit(mechanism: str | None) -> bool:
    # A server may be less strict about names than RFC 4422 section 3.1.
    name = (mechanism or "").strip().upper()
    return name == "EXTERNAL" or name.endswith(_BINDING)
