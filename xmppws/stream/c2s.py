"""How a client's stream is negotiated: SASL (RFC 6120 section 6), then resource binding (section 7).

`Negotiation` is fed the client's elements and returns what to do: `Reply` with bytes to send, a question to the
accounts (`KeysWanted`, `PasswordWanted`, `TokenWanted`, `AccountWanted`) or to the host (`Bind`), whose answer it is
then given. It holds nothing once the client is bound.

| state          | waits for                          |
|----------------|------------------------------------|
| NEW            | the first `<open/>`                |
| AUTHENTICATING | `<auth/>`                          |
| RESPONDING     | `<response/>` to our challenge     |
| AUTHENTICATED  | the `<open/>` that restarts        |
| BINDING        | the IQ that binds, or `<resume/>`  |
| BOUND          | nothing: stanzas go to dispatch    |
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias

from xmppws.errors import (
    BadFormat,
    InvalidFrom,
    NotAuthorized,
    Reason,
    SaslAborted,
    SaslFailure,
    SaslIncorrectEncoding,
    SaslInvalidAuthzid,
    SaslInvalidMechanism,
    SaslMalformedRequest,
    SaslNotAuthorized,
    StanzaError,
    StreamError,
    StreamPolicyViolation,
)
from xmppws.jid import InvalidJid, Jid
from xmppws.stream import framing, sm
from xmppws.stream.sasl import (
    AccountWanted,
    Challenge,
    KeysWanted,
    Mechanism,
    PasswordWanted,
    Refusal,
    Success,
    TokenWanted,
    anonymous,
    oauthbearer,
)
from xmppws.stream.sasl import Step as SaslStep
from xmppws.stream.sasl.anonymous import Anonymous
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.oauthbearer import OAuthBearer
from xmppws.stream.sasl.plain import Plain
from xmppws.stream.sasl.scram import HASHES, Scram
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza, read
from xmppws.xml.writer import child, element, text

LOGIN_NAMES: Final = (
    f'<open xmlns="{ns.FRAMING}" to="" from="" id="" version="" xml:lang=""><close/></open>'.encode(),
    f'<auth xmlns="{ns.SASL}" mechanism=""><response/><abort/></auth>'.encode(),
    f'<iq xmlns="{ns.CLIENT}" type="" id="" to="" from=""><bind xmlns="{ns.BIND}"><resource/></bind></iq>'.encode(),
)
"""Elements that hold every name that a client needs to log in."""

_BIND_FEATURE: Final = f'<bind xmlns="{ns.BIND}"/>'.encode()


class State(Enum):
    NEW = "new"
    AUTHENTICATING = "authenticating"
    RESPONDING = "responding"
    AUTHENTICATED = "authenticated"
    BINDING = "binding"
    BOUND = "bound"


class Event(Enum):
    OPEN = "open"
    AUTH = "auth"
    RESPONSE = "response"
    ABORT = "abort"
    STANZA = "stanza"
    RESUME = "resume"
    ENABLE = "enable"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a host offers every client, made once.

    Its mechanisms, and the features before and after log-in as messages.
    """

    domain: str
    mechanisms: tuple[str, ...]
    before: bytes
    after: bytes
    max_attempts: int

    @classmethod
    def of(cls, domain: str, mechanisms: tuple[str, ...], features: bytes, max_attempts: int) -> Offer:
        """Write the features; `features` are those that the host's modules add after log-in."""
        names = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in mechanisms)
        offered = b'<mechanisms xmlns="%b">%b</mechanisms>' % (ns.SASL.encode(), names)
        return cls(
            domain, mechanisms, framing.features(offered), framing.features(_BIND_FEATURE + features), max_attempts
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt to log in ended: `failure` is the SASL condition, "" for success.

    `mechanism` is "" when it was none of those offered; `username` is what the client said so far, as it said it.
    """

    mechanism: str
    username: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """Messages to send; then, if there is an error, the end of the stream. `attempt` is what they bring to an end."""

    messages: tuple[bytes, ...]
    error: StreamError | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """The client wants this resource ("" for one of the server's making); answer with `bound()` or `bind_refused()`."""

    resource: str
    iq: Stanza


@dataclass(frozen=True, slots=True)
class Resume:
    """The client wants to go on with a session (XEP-0198); answer with `resumed()`, or refuse it with a `Reply`."""

    id: str
    h: int


Step: TypeAlias = Reply | KeysWanted | PasswordWanted | TokenWanted | AccountWanted | Bind | Resume


class Negotiation:
    """One stream from its first `<open/>` to its resource.

    `new_nonce` makes an unguessable string of printable ASCII, no comma.
    """

    __slots__ = ("_attempts", "_mechanism", "_name", "_new_nonce", "_noted", "_offer", "_username", "jid", "state")

    def __init__(self, offer: Offer, new_nonce: Callable[[], str]) -> None:
        self._offer = offer
        self._new_nonce = new_nonce
        self._attempts = 0
        self._mechanism: Mechanism | None = None
        self._name = self._username = ""
        # Whether a refusal was told as the end of the attempt, which goes on until the client responds.
        self._noted = False
        self.state = State.NEW
        self.jid: Jid | None = None

    def opened(self) -> bytes:
        """Take an `<open/>` and return the features that follow ours."""
        if self.state is State.NEW:
            self.state = State.AUTHENTICATING
            return self._offer.before
        if self.state is State.AUTHENTICATED:
            self.state = State.BINDING
            return self._offer.after
        # RFC 7395 section 3.4: one stream for a socket; an <open/> is a restart and nothing else.
        raise BadFormat("A second <open/> is allowed after a successful login only")

    def received(self, root: Element) -> Step:
        """Take an element."""
        handler = _HANDLERS.get((self.state, _event(root)))
        if handler is None:
            # RFC 6120 section 4.9.3.12.
            raise NotAuthorized("Log in and bind a resource before sending anything else")
        return handler(self, root)

    def keys(self, keys: ScramKeys) -> Step:
        """Take the answer to `KeysWanted`: the account's keys, or fake ones that look the same."""
        return self._exchange(lambda mechanism: mechanism.keys(keys))

    def password_checked(self, right: bool) -> Step:
        """Take the answer to `PasswordWanted`."""
        return self._exchange(lambda mechanism: mechanism.password_checked(right))

    def token_checked(self, username: str) -> Step:
        """Take the answer to `TokenWanted`: whose token it is, "" if it lets nobody in."""
        return self._exchange(lambda mechanism: mechanism.token_checked(username))

    def account(self, username: str) -> Step:
        """Take the answer to `AccountWanted`."""
        return self._exchange(lambda mechanism: mechanism.account(username))

    def failed(self, failure: SaslFailure) -> Reply:
        """Fail the attempt; after too many the stream ends as well (RFC 6120 section 6.4.5)."""
        self._mechanism = None
        self.state = State.AUTHENTICATING
        self._attempts += 1
        attempt = None if self._noted else Attempt(self._name, self._username, failure.condition)
        self._name = self._username = ""
        self._noted = False
        error = None
        if self._attempts >= self._offer.max_attempts:
            error = StreamPolicyViolation("Too many attempts to log in failed", Reason.TOO_MANY_ATTEMPTS)
        return Reply((_sasl_failure(failure),), error, attempt)

    def bound(self, bind: Bind, jid: Jid) -> Reply:
        """Take the full JID that the host gave."""
        self.state = State.BOUND
        self.jid = jid
        payload = element(ns.BIND, "bind")
        child(payload, ns.BIND, "jid", text=jid.text)
        return Reply((bind.iq.result(payload).wire,))

    def resumed(self) -> None:
        """Note that a session goes on."""
        self.state = State.BOUND

    def bind_refused(self, bind: Bind, error: StanzaError) -> Reply:
        """Refuse the resource; the client may ask for another."""
        return Reply((bind.iq.error(error).wire,))

    def _auth(self, root: Element) -> Step:
        name = root.get("mechanism", "")
        if name not in self._offer.mechanisms:
            return self.failed(SaslInvalidMechanism("Offered are: " + ", ".join(self._offer.mechanisms)))
        self._name = name
        self._mechanism = self._start(name)
        # RFC 6120 section 6.4.2: no initial response; the client speaks after an empty challenge. It may have nothing
        # to say to ANONYMOUS: XEP-0175 section 4 answers an empty <auth/> with success.
        if not root.text and name != anonymous.NAME:
            self.state = State.RESPONDING
            return Reply((_sasl("challenge", b""),))
        return self._response(root)

    def _start(self, name: str) -> Mechanism:
        if name in HASHES:
            return Scram(name, self._new_nonce())
        return _OTHERS.get(name, Plain)()

    def _response(self, root: Element) -> Step:
        try:
            data = _decode(root.text)
        except SaslFailure as failure:
            return self.failed(failure)
        return self._exchange(lambda mechanism: mechanism.respond(data))

    def _abort(self, root: Element) -> Step:
        return self.failed(SaslAborted("The client aborted"))

    def _stray(self, root: Element) -> Step:
        return self.failed(SaslMalformedRequest("Nothing was asked that this could answer"))

    def _exchange(self, turn: Callable[[Mechanism], SaslStep]) -> Step:
        assert self._mechanism is not None
        try:
            step = turn(self._mechanism)
            if isinstance(step, Success):
                return self._succeed(step)
        except SaslFailure as failure:
            return self.failed(failure)
        if isinstance(step, Challenge):
            self.state = State.RESPONDING
            return Reply((_sasl("challenge", step.data),))
        if isinstance(step, Refusal):
            return self._refused(step)
        if isinstance(step, AccountWanted):
            return step
        self._username = step.username
        return replace(step, username=self._prepared(step.username))

    def _refused(self, refusal: Refusal) -> Reply:
        # The attempt has failed, whether the client responds or just leaves.
        self.state = State.RESPONDING
        self._noted = True
        attempt = Attempt(self._name, self._username, SaslNotAuthorized.condition)
        return Reply((_sasl("challenge", refusal.data),), attempt=attempt)

    def _prepared(self, username: str) -> str:
        # A name that can be no localpart goes on as it is: no account has it, and its owner learns no more than that.
        try:
            return Jid.make(username, self._offer.domain).local
        except InvalidJid:
            return username

    def _succeed(self, success: Success) -> Reply:
        try:
            jid = Jid.make(success.username, self._offer.domain)
            # RFC 6120 section 6.3.8: an authzid is a bare JID. Nobody here may act for somebody else.
            if success.authzid and Jid.parse(success.authzid) != jid:
                raise SaslInvalidAuthzid("You can log in as yourself only")
        except InvalidJid:
            raise SaslInvalidAuthzid("The authorization identity is not a JID") from None
        self._mechanism = None
        self.jid = jid
        self.state = State.AUTHENTICATED
        return Reply((_sasl("success", success.data),), attempt=Attempt(self._name, success.username))

    def _bind(self, root: Element) -> Step:
        iq, mistake = read(root)
        request = iq.child(ns.BIND, "bind")
        if iq.kind != "iq" or iq.type != "set" or request is None:
            raise NotAuthorized("Bind a resource before sending anything else")
        if iq.sender is not None and iq.sender.bare != self.jid:
            raise InvalidFrom("A stanza from somebody else")
        if mistake is not None:
            return Reply((iq.error(mistake).wire,))
        return Bind(request.findtext(f"{{{ns.BIND}}}resource") or "", iq)

    def _resume(self, root: Element) -> Step:
        return Resume(root.get("previd", ""), sm.read_h(root))

    def _too_early(self, root: Element) -> Step:
        # XEP-0198 section 3: counting begins after a resource is bound.
        return Reply((sm.failed("unexpected-request"),))


_OTHERS: Final[dict[str, Callable[[], Mechanism]]] = {anonymous.NAME: Anonymous, oauthbearer.NAME: OAuthBearer}
_HANDLERS: Final[dict[tuple[State, Event], Callable[[Negotiation, Element], Step]]] = {
    (State.AUTHENTICATING, Event.AUTH): Negotiation._auth,
    (State.AUTHENTICATING, Event.RESPONSE): Negotiation._stray,
    (State.AUTHENTICATING, Event.ABORT): Negotiation._abort,
    (State.RESPONDING, Event.AUTH): Negotiation._stray,
    (State.RESPONDING, Event.RESPONSE): Negotiation._response,
    (State.RESPONDING, Event.ABORT): Negotiation._abort,
    (State.BINDING, Event.STANZA): Negotiation._bind,
    (State.BINDING, Event.RESUME): Negotiation._resume,
    (State.BINDING, Event.ENABLE): Negotiation._too_early,
}
_EVENTS: Final = {
    **{f"{{{ns.SASL}}}{event.value}": event for event in (Event.AUTH, Event.RESPONSE, Event.ABORT)},
    **{f"{{{ns.CLIENT}}}{kind}": Event.STANZA for kind in ("message", "presence", "iq")},
    sm.RESUME: Event.RESUME,
    sm.ENABLE: Event.ENABLE,
}


def _event(root: Element) -> Event:
    return _EVENTS.get(tag_of(root), Event.OTHER)


def _decode(encoded: str | None) -> bytes:
    # RFC 6120 section 6.4.2: "=" is a response of no bytes, so that it differs from none at all.
    if not encoded or encoded == "=":
        return b""
    try:
        return b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        raise SaslIncorrectEncoding("The response is not base64") from None


def _sasl(name: str, data: bytes) -> bytes:
    return b'<%b xmlns="%b">%b</%b>' % (name.encode(), ns.SASL.encode(), b64encode(data), name.encode())


def _sasl_failure(failure: SaslFailure) -> bytes:
    # RFC 6120 section 6.5: the text is optional and tells nothing that helps to guess.
    told = b'<text xml:lang="en">%b</text>' % text(failure.text) if failure.text else b""
    return b'<failure xmlns="%b"><%b/>%b</failure>' % (ns.SASL.encode(), failure.condition.encode(), told)
