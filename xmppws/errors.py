"""XMPP error conditions, one class each, and the ends of a stream.

Raise a `StanzaError` anywhere while a stanza is handled and its sender gets it as an error stanza (RFC 6120 section
8.3.3); raise a `StreamError` and the stream ends with it (section 4.9.3). A `SaslFailure` answers one authentication
attempt (section 6.5). The text goes to the peer: it never holds anything of our insides.

Each end of a stream has one stable reason id (`Reason`), which stands in the stream error's text, the close frame, the
log line and the metric, so that all four can be found with one search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import ClassVar, Final


class XmppError(Exception):
    """An error that has a condition of the RFCs."""

    condition: str

    def __init__(self, text: str = "") -> None:
        super().__init__(text or self.condition)
        self.text = text


# --- Stanza errors, RFC 6120 section 8.3.3 ---


class StanzaError(XmppError):
    """An error that is answered to the sender of one stanza."""

    type: ClassVar[str] = "cancel"
    specific: str = ""
    """The application's own condition beside the RFC's, as `{namespace}name` (RFC 6120 section 8.3.2)."""
    details: Mapping[str, str] = MappingProxyType({})
    """Attributes of that."""


class BadRequest(StanzaError):
    condition = "bad-request"
    type = "modify"


class Conflict(StanzaError):
    condition = "conflict"


class FeatureNotImplemented(StanzaError):
    condition = "feature-not-implemented"


class Forbidden(StanzaError):
    condition = "forbidden"
    type = "auth"


class InternalServerError(StanzaError):
    condition = "internal-server-error"


class ItemNotFound(StanzaError):
    condition = "item-not-found"


class JidMalformed(StanzaError):
    condition = "jid-malformed"
    type = "modify"


class NotAcceptable(StanzaError):
    condition = "not-acceptable"
    type = "modify"


class NotAllowed(StanzaError):
    condition = "not-allowed"


class PolicyViolation(StanzaError):
    condition = "policy-violation"
    type = "modify"


class RegistrationRequired(StanzaError):
    condition = "registration-required"
    type = "auth"


class RemoteServerNotFound(StanzaError):
    condition = "remote-server-not-found"


class RemoteServerTimeout(StanzaError):
    condition = "remote-server-timeout"
    type = "wait"


class ResourceConstraint(StanzaError):
    condition = "resource-constraint"
    type = "wait"


class ServiceUnavailable(StanzaError):
    condition = "service-unavailable"


class StanzaNotAuthorized(StanzaError):
    condition = "not-authorized"
    type = "auth"


class UnexpectedRequest(StanzaError):
    condition = "unexpected-request"
    type = "wait"


# --- Ends of a stream ---


class Side(StrEnum):
    """Who ended a stream."""

    CLIENT = "client"
    SERVER = "server"
    NETWORK = "network"
    UPSTREAM = "upstream"
    """The server behind, of a virtual host with the router `upstream`."""


class Reason(Enum):
    """Why a stream ended.

    The stable id, the WebSocket close code (RFC 6455 section 7.4.1), and a sentence for people.
    """

    def __init__(self, id: str, code: int, help: str) -> None:
        self.id = id
        self.code = code
        self.help = help

    CLIENT_CLOSE = ("client-close", 1000, "The client closed the stream.")
    CLIENT_GONE = ("client-gone", 1000, "The client closed the WebSocket without closing the stream.")
    CONNECTION_LOST = ("connection-lost", 1006, "The socket ended without a close frame.")
    SHUTDOWN = ("shutdown", 1001, "The server is stopping.")
    HANDSHAKE_TIMEOUT = ("handshake-timeout", 1008, "No byte of XMPP arrived in time after the connection was made.")
    AUTH_TIMEOUT = ("auth-timeout", 1000, "The client did not log in in time.")
    PONG_TIMEOUT = ("pong-timeout", 1000, "A WebSocket ping was not answered in time.")
    READ_TIMEOUT = ("read-timeout", 1000, "The client sent no XMPP and did not answer an XMPP ping.")
    CLOSE_TIMEOUT = ("close-timeout", 1000, "The client did not answer the end of the stream in time.")
    WEBSOCKET_PROTOCOL = ("websocket-protocol", 1002, "A frame broke RFC 6455.")
    BINARY = ("binary", 1003, "XMPP travels in text messages only.")
    NOT_UTF8 = ("not-utf8", 1007, "A text message was not UTF-8.")
    NOT_XML = ("not-xml", 1007, "A message did not start with '<'.")
    FRAME_TOO_BIG = ("stanza-too-large", 1009, "A message was larger than the limit.")
    NOT_WELL_FORMED = ("not-well-formed", 1000, "A message was not one well-formed XML element.")
    RESTRICTED_XML = ("restricted-xml", 1000, "A message held a comment, processing instruction, DTD or entity.")
    BAD_FORMAT = ("bad-format", 1000, "A message held XML that cannot be processed.")
    BAD_NAMESPACE_PREFIX = ("bad-namespace-prefix", 1000, "A stanza had a namespace prefix.")
    INVALID_NAMESPACE = ("invalid-namespace", 1000, "A framing element had a wrong namespace.")
    TOO_DEEP = ("too-deep", 1008, "Elements were nested too deeply.")
    TOO_MANY_ELEMENTS = ("too-many-elements", 1008, "A message held too many elements.")
    TOO_MANY_NAMES = (
        "too-many-names",
        1008,
        "The client used too many names that the server had never seen.",
    )
    NOT_SECURE = ("not-secure", 1008, "The stream is not secure.")
    HOST_UNKNOWN = ("host-unknown", 1000, "The stream was opened to a host that is not served here.")
    IMPROPER_ADDRESSING = ("improper-addressing", 1000, "The stream or stanza did not say to whom it is addressed.")
    UNSUPPORTED_VERSION = ("unsupported-version", 1000, "The client asked for a version other than 1.0.")
    NOT_AUTHORIZED = ("not-authorized", 1000, "The client sent stanzas before it had logged in and bound a resource.")
    UNSUPPORTED_STANZA_TYPE = ("unsupported-stanza-type", 1000, "The client sent an element that is not a stanza.")
    INVALID_FROM = ("invalid-from", 1000, "The client sent a stanza in the name of somebody else.")
    TOO_MANY_ATTEMPTS = ("too-many-attempts", 1008, "Too many attempts to log in failed.")
    TOKEN_EXPIRED = ("token-expired", 1008, "The token that the client logged in with has expired.")
    TOKEN_INVALID = ("token-invalid", 1008, "The client showed a token that lets nobody in.")
    IDLE = ("idle", 1008, "The page was subscribed to nothing for long.")
    STREAM_MANAGEMENT = ("stream-management", 1000, "The client broke the rules of stream management (XEP-0198).")
    UNACKNOWLEDGED = ("unacknowledged", 1008, "The client did not acknowledge what was sent to it.")
    REPLACED = ("replaced", 1000, "A newer session took over the resource.")
    ACCOUNT_DELETED = ("account-deleted", 1000, "The account was deleted.")
    KICKED = ("kicked", 1008, "An admin ended the session.")
    HOST_FULL = ("host-full", 1008, "The host has all the connections it may have.")
    SLOW_READER = ("slow-reader", 1008, "The client did not read what was sent to it.")
    MOVED = ("moved", 1000, "The client was sent to another endpoint, or to the same one again.")
    UPSTREAM_UNREACHABLE = ("upstream-unreachable", 1000, "The server behind could not be reached.")
    UPSTREAM_FULL = ("upstream-full", 1000, "There are all the connections to the server behind that there may be.")
    UPSTREAM_LOST = ("upstream-lost", 1000, "The connection to the server behind was lost.")
    UPSTREAM_CLOSED = ("upstream-closed", 1000, "The server behind ended the stream.")
    UPSTREAM_ERROR = ("upstream-error", 1000, "The server behind sent what cannot be passed on.")
    INTERNAL = ("internal-error", 1011, "The server made a mistake.")


OF_UPSTREAM: Final = frozenset(
    {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_LOST, Reason.UPSTREAM_CLOSED, Reason.UPSTREAM_ERROR}
)
"""The reasons for which the server behind is to blame."""


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended: reason, who ended it, and what the peer was told."""

    reason: Reason
    by: Side
    text: str = ""


class StreamError(XmppError):
    """An error that ends the stream. `reason` defaults to the one that every error of the condition has."""

    default: ClassVar[Reason]
    specific: bytes = b""
    """The application's own condition beside the RFC's, as XML (RFC 6120 section 4.9.4)."""

    def __init__(self, text: str = "", reason: Reason | None = None) -> None:
        super().__init__(text)
        self.reason = reason or self.default

    @property
    def end(self) -> End:
        """The end that this error makes, with the text that the peer sees: `reason-id: sentence`."""
        by = Side.UPSTREAM if self.reason in OF_UPSTREAM else Side.SERVER
        return End(self.reason, by, f"{self.reason.id}: {self.text or self.reason.help}")


class BadFormat(StreamError):
    condition = "bad-format"
    default = Reason.BAD_FORMAT


class BadNamespacePrefix(StreamError):
    condition = "bad-namespace-prefix"
    default = Reason.BAD_NAMESPACE_PREFIX


class StreamConflict(StreamError):
    condition = "conflict"
    default = Reason.REPLACED


class ConnectionTimeout(StreamError):
    condition = "connection-timeout"
    default = Reason.READ_TIMEOUT


class HostUnknown(StreamError):
    condition = "host-unknown"
    default = Reason.HOST_UNKNOWN


class ImproperAddressing(StreamError):
    condition = "improper-addressing"
    default = Reason.IMPROPER_ADDRESSING


class StreamInternalServerError(StreamError):
    condition = "internal-server-error"
    default = Reason.INTERNAL


class InvalidFrom(StreamError):
    condition = "invalid-from"
    default = Reason.INVALID_FROM


class InvalidNamespace(StreamError):
    condition = "invalid-namespace"
    default = Reason.INVALID_NAMESPACE


class NotAuthorized(StreamError):
    condition = "not-authorized"
    default = Reason.NOT_AUTHORIZED


class NotWellFormed(StreamError):
    condition = "not-well-formed"
    default = Reason.NOT_WELL_FORMED


class StreamPolicyViolation(StreamError):
    condition = "policy-violation"
    default = Reason.NOT_SECURE


class RemoteConnectionFailed(StreamError):
    condition = "remote-connection-failed"
    default = Reason.UPSTREAM_UNREACHABLE


class SeeOtherUri(StreamError):
    """Sends the client to another endpoint (RFC 7395 section 3.6.1): no error, but an attribute of `<close/>`."""

    condition = "see-other-host"
    default = Reason.MOVED

    def __init__(self, uri: str, text: str = "") -> None:
        super().__init__(text)
        self.uri = uri


class StreamResourceConstraint(StreamError):
    condition = "resource-constraint"
    default = Reason.SLOW_READER


class RestrictedXml(StreamError):
    condition = "restricted-xml"
    default = Reason.RESTRICTED_XML


class SystemShutdown(StreamError):
    condition = "system-shutdown"
    default = Reason.SHUTDOWN


class UndefinedCondition(StreamError):
    condition = "undefined-condition"
    default = Reason.STREAM_MANAGEMENT


class UnsupportedStanzaType(StreamError):
    condition = "unsupported-stanza-type"
    default = Reason.UNSUPPORTED_STANZA_TYPE


class UnsupportedVersion(StreamError):
    condition = "unsupported-version"
    default = Reason.UNSUPPORTED_VERSION


# --- SASL failures, RFC 6120 section 6.5 ---


class SaslFailure(XmppError):
    """A failed authentication attempt; the client may try again on the same stream."""


class SaslAborted(SaslFailure):
    condition = "aborted"


class SaslCredentialsExpired(SaslFailure):
    condition = "credentials-expired"


class SaslIncorrectEncoding(SaslFailure):
    condition = "incorrect-encoding"


class SaslInvalidAuthzid(SaslFailure):
    condition = "invalid-authzid"


class SaslInvalidMechanism(SaslFailure):
    condition = "invalid-mechanism"


class SaslMalformedRequest(SaslFailure):
    condition = "malformed-request"


class SaslNotAuthorized(SaslFailure):
    condition = "not-authorized"


class SaslTemporaryAuthFailure(SaslFailure):
    condition = "temporary-auth-failure"
