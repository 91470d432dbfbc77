"""Colibri2: how the focus of a conference, such as Jicofo, allocates its parts over XMPP (`jitsi:colibri2`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xmppws.errors import BadRequest, Conflict, FeatureNotImplemented, ItemNotFound, StanzaError
from xmppws.xml.parser import Element
from xmppws.xml.writer import child, element

COLIBRI2: Final = "jitsi:colibri2"
_COLIBRI: Final = "http://jitsi.org/protocol/colibri"
_ICE: Final = "urn:xmpp:jingle:transports:ice-udp:1"
_TRANSPORT: Final = f"{{{COLIBRI2}}}transport"
_ICE_TRANSPORT: Final = f"{{{_ICE}}}transport"
_WEB_SOCKET: Final = f"{{{_COLIBRI}}}web-socket"
_CAPABILITY: Final = f"{{{COLIBRI2}}}capability"
_MAX_ID: Final = 64


@dataclass(frozen=True, slots=True)
class Part:
    """An endpoint or a relay, as the focus wants it. `has_transport` asks for URLs; `dials` are URLs to connect to.

    `endpoints` are those behind a relay, None where nothing is said of them.
    """

    id: str
    is_relay: bool
    creates: bool
    expires: bool
    has_transport: bool
    has_source_names: bool
    mesh: str
    dials: tuple[str, ...]
    endpoints: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Modification:
    """What a `<conference-modify/>` asks for."""

    meeting: str
    name: str
    creates: bool
    expires: bool
    parts: tuple[Part, ...]


def refusal(kind: type[StanzaError], reason: str, text: str) -> StanzaError:
    """Return an error with a reason of Colibri's own."""
    error = kind(text)
    error.specific = f"{{{COLIBRI2}}}error"
    error.details = {"reason": reason}
    return error


def bad_request(text: str) -> StanzaError:
    """Return the error for what nobody can do."""
    return refusal(BadRequest, "unspecified", text)


def no_conference() -> StanzaError:
    """Return the error for a conference that is not there."""
    return refusal(ItemNotFound, "conference_not_found", "There is no such conference")


def conference_exists() -> StanzaError:
    """Return the error for a conference that is there already."""
    return refusal(Conflict, "conference_already_exists", "The conference is there already")


def unknown_endpoint(id: str) -> StanzaError:
    """Return the error for an endpoint that is not there."""
    return refusal(ItemNotFound, "unknown_endpoint", f"There is no endpoint {id}")


def read(request: Element) -> Modification:
    """Read a `<conference-modify/>`. Raises a `StanzaError`."""
    meeting = request.get("meeting-id", "")
    if not meeting or len(meeting) > 2 * _MAX_ID:
        raise bad_request("A conference has a meeting-id of at most 128 characters")
    endpoints = [_read_part(each) for each in request.findall(f"{{{COLIBRI2}}}endpoint")]
    relays = [_read_part(each) for each in request.findall(f"{{{COLIBRI2}}}relay")]
    if endpoints and relays:
        raise refusal(FeatureNotImplemented, "feature_not_implemented", "A request has endpoints, or a relay")
    if len(relays) > 1 or sum(each.creates for each in endpoints) > 1:
        raise refusal(FeatureNotImplemented, "feature_not_implemented", "A request creates one at a time")
    return Modification(
        meeting,
        request.get("name", ""),
        _is_true(request, "create"),
        _is_true(request, "expire"),
        (*endpoints, *relays),
    )


def _read_part(element: Element) -> Part:
    id = element.get("id", "")
    if not id or len(id) > _MAX_ID or not id.isprintable() or "/" in id or "?" in id:
        raise bad_request("An id has 1 to 64 printable characters, which can stand in a URL")
    transport = element.find(_TRANSPORT)
    sockets = () if transport is None else transport.findall(f"{_ICE_TRANSPORT}/{_WEB_SOCKET}")
    behind = element.find(f"{{{COLIBRI2}}}endpoints")
    return Part(
        id,
        element.tag == f"{{{COLIBRI2}}}relay",
        _is_true(element, "create"),
        _is_true(element, "expire"),
        transport is not None,
        any(each.get("name") == "source-names" for each in element.findall(_CAPABILITY)),
        element.get("mesh-id", ""),
        tuple(url for each in sockets if (url := each.get("url"))),
        None if behind is None else frozenset(each.get("id", "") for each in behind.findall(f"{{{COLIBRI2}}}endpoint")),
    )


def _is_true(element: Element, attribute: str) -> bool:
    return element.get(attribute, "") in ("true", "1")


class Answer:
    """A `<conference-modified/>` that is being written."""

    def __init__(self) -> None:
        self.element = element(COLIBRI2, "conference-modified")

    def add(self, part: Part, urls: tuple[str, ...], *, is_dialling: bool) -> None:
        """Tell where the WebSocket of a new part is, or that we open it."""
        made = child(self.element, COLIBRI2, "relay" if part.is_relay else "endpoint", {"id": part.id})
        ice = child(child(made, COLIBRI2, "transport"), _ICE, "transport")
        for url in () if is_dialling else urls:
            child(ice, _COLIBRI, "web-socket", {"url": url})
        if is_dialling:
            child(ice, _COLIBRI, "web-socket", {"active": "true"})
