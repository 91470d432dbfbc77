"""The session of a page as the rest of the server sees it: stanzas go to what translates them, not to the socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from xmppws.core.admin import ConnectionFacts
from xmppws.core.session import Session
from xmppws.core.web import Socket
from xmppws.errors import StreamError
from xmppws.xml.stanza import Stanza


class PageStream:
    """The `core.router.Stream` of a page. `took` takes the stanzas that are sent to its session."""

    __slots__ = ("_socket", "secure", "took")

    def __init__(self, socket: Socket, *, secure: bool) -> None:
        self._socket = socket
        self.secure = secure
        self.took: Callable[[Stanza], None]

    @property
    def id(self) -> str:
        """The socket's id."""
        return self._socket.id

    @property
    def address(self) -> str:
        """The client's address."""
        return self._socket.address

    def facts(self) -> ConnectionFacts:
        """Return what there is to know of the connection now."""
        return self._socket.facts()

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        """Do nothing: a page opens no stream."""

    def send(self, *messages: bytes) -> None:
        """Do nothing: what comes written goes to all available clients of an account, and a page never is available."""

    def count_login(self) -> float:
        """Count an attempt to log in."""
        return self._socket.count_login()

    def authenticated(self, name: str, *, guest: bool = False) -> None:
        """Note that the page has logged in."""
        self._socket.authenticated(name)

    def end(self, error: StreamError | None = None) -> None:
        """End the socket."""
        if error is None:
            self._socket.close(1000)
        else:
            self._socket.end(error)

    def pause_reading(self) -> None:
        """Stop reading from the page."""
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read from the page again."""
        self._socket.resume_reading()


class PageSession(Session):
    """A session whose stream is a `PageStream`."""

    __slots__ = ()

    def send(self, stanza: Stanza) -> None:
        """Hand a stanza over."""
        self.host.traffic.sent[stanza.kind] += 1
        cast(PageStream, self.stream).took(stanza)
