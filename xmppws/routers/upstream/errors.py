"""Why there is no connection to an upstream server: each text is for the sysadmin's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_SHOWN: Final = 8


class UpstreamError(Exception):
    """What keeps us from an upstream server."""


class NameServerError(UpstreamError):
    """The name servers did not answer, or not with an answer."""


class NoNameServerAnswered(NameServerError):
    """Nothing came from any name server in time."""


class NoSuchName(UpstreamError):
    """The name does not exist in DNS (NXDOMAIN)."""


class NoAddress(UpstreamError):
    """The name exists, and has no address."""


class NotOffered(UpstreamError):
    """The domain says in DNS that it has no such service."""


class Untrusted(UpstreamError):
    """The server did not prove to be the one of the domain."""


class TlsFileError(UpstreamError):
    """A file that TLS needs cannot be used."""


class Failure(NamedTuple):
    """What was tried, and why it failed."""

    where: str
    error: UpstreamError

    def __str__(self) -> str:
        return f"{self.where}: {self.error}"


class Unreachable(UpstreamError):
    """Nothing that was tried worked; `failures` stand in the order in which they happened."""

    def __init__(self, domain: str, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures)
        more = len(self.failures) - _SHOWN
        told = [*map(str, self.failures[:_SHOWN]), *([f"and {more} more"] if more > 0 else [])]
        super().__init__(f"no connection to the server of {domain}: {'; '.join(told) or 'there is none to try'}")
