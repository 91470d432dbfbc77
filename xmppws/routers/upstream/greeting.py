"""The beginning of a stream to an upstream server: headers, TLS, features (RFC 6120 sections 4.3 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from xmppws.errors import StreamError
from xmppws.routers.upstream import translate
from xmppws.routers.upstream.errors import UpstreamError
from xmppws.routers.upstream.link import Link
from xmppws.routers.upstream.tls import ClientTls, Expected
from xmppws.stream.tcp import Header, header
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.writer import element, serialize

_STARTTLS = serialize(element(ns.TLS, "starttls"))


class Greeting(NamedTuple):
    """What a server begins a stream with."""

    header: Header
    features: Element


class SeeOtherHost(UpstreamError):
    """The server sends its clients to another one: `where` is as it said it."""

    def __init__(self, where: str) -> None:
        super().__init__(f"it sends its clients to {where!r}")
        self.where = where


async def greet(link: Link, *, domain: str, lang: str | None, parse: Callable[[bytes], Element]) -> Greeting:
    """Open a stream, or open it anew, and return what the server answers. Raises `UpstreamError`."""
    link.send(header(ns.CLIENT, to=domain, lang=lang))
    with _rules():
        head, features = await link.next(), await link.next()
        if not isinstance(head, Header) or not isinstance(features, bytes):
            raise UpstreamError("it ended the stream at once")
        root = parse(features)
    tag = tag_of(root)
    if tag == translate.ERROR:
        if other := translate.other_host(root):
            raise SeeOtherHost(other)
        raise UpstreamError(f"it ended the stream with {translate.condition(root)}")
    if tag != translate.FEATURES:
        raise UpstreamError(f"it sent {tag[:80]} in place of stream features")
    return Greeting(head, root)


async def start_tls(
    link: Link, features: Element, expected: Expected, tls: ClientTls, parse: Callable[[bytes], Element]
) -> None:
    """Go over to TLS (RFC 6120 section 5.4). Raises `UpstreamError`."""
    if features.find(translate.STARTTLS) is None:
        raise UpstreamError("it offers no STARTTLS")
    link.send(_STARTTLS)
    with _rules():
        answer = await link.next()
        if not isinstance(answer, bytes) or tag_of(parse(answer)) != translate.PROCEED:
            raise UpstreamError("it refused STARTTLS")
    if link.buffered:
        # Whoever sits between could have put it there, to be taken for what comes through TLS.
        raise UpstreamError("it sent more behind its consent to STARTTLS")
    link.restart()
    link.connection_made(await tls.secure(link.transport, link, expected, direct=False))


@contextmanager
def _rules() -> Iterator[None]:
    """Tell apart what the server did wrong from what the client did."""
    try:
        yield
    except StreamError as error:
        raise UpstreamError(f"it broke the rules of XML streams: {error}") from None
