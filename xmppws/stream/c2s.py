"""How a client's stream is negotiated: SASL (RFC 6120 section 6) and resource binding (section 7), or XEP-0388.

`Negotiation` is fed the client's elements and returns what to do (`stream.steps`): `Reply` with bytes to send, a
question to the accounts, or to the host (`Bind`, `Resume`, `Authenticated`), whose answer it is then given. It holds
nothing once the client is bound.

| state          | waits for                                           |
|----------------|-----------------------------------------------------|
| NEW            | the first `<open/>`                                 |
| AUTHENTICATING | `<auth/>` or `<authenticate/>`                      |
| RESPONDING     | `<response/>` to our challenge                      |
| CONTINUING     | `<next/>`: the client begins the task that we named |
| UPGRADING      | `<task-data/>`: the salted password                 |
| AUTHENTICATED  | the `<open/>` that restarts                         |
| BINDING        | the IQ that binds, or `<resume/>`                   |
| BOUND          | nothing: stanzas go to dispatch                     |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from enum import Enum
from typing import Final

from xmppws.errors import (
    BadFormat,
    InvalidFrom,
    NotAuthorized,
    Reason,
    SaslAborted,
    SaslFailure,
    SaslInvalidAuthzid,
    SaslInvalidMechanism,
    SaslMalformedRequest,
    SaslNotAuthorized,
    StanzaError,
    StreamPolicyViolation,
)
from xmppws.jid import InvalidJid, Jid
from xmppws.stream import profile, sasl2, sm
from xmppws.stream.offer import Offer
from xmppws.stream.sasl import (
    AccountWanted,
    Challenge,
    Mechanism,
    Refusal,
    Success,
    UpgradeWanted,
    anonymous,
    ht,
    oauthbearer,
)
from xmppws.stream.sasl import Step as SaslStep
from xmppws.stream.sasl.anonymous import Anonymous
from xmppws.stream.sasl.ht import HashedToken
from xmppws.stream.sasl.keys import ITERATIONS, SALT_LENGTH, ScramKeys, of_salted
from xmppws.stream.sasl.oauthbearer import OAuthBearer
from xmppws.stream.sasl.plain import Plain
from xmppws.stream.sasl.scram import HASHES, Scram
from xmppws.stream.sasl2 import Request
from xmppws.stream.steps import Attempt, Authenticated, Bind, Reply, Step
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import read
from xmppws.xml.writer import child, element

LOGIN_NAMES: Final = (
    f'<open xmlns="{ns.FRAMING}" to="" from="" id="" version="" xml:lang=""><close/></open>'.encode(),
    f'<auth xmlns="{ns.SASL}" mechanism=""><response/><abort/></auth>'.encode(),
    f'<authenticate xmlns="{ns.SASL2}" mechanism=""><initial-response/><response/><abort/><text/><next task=""/>'
    f'<task-data><hash xmlns="{ns.SCRAM_UPGRADE}"/></task-data><user-agent id=""><software/><device/></user-agent>'
    f'<bind xmlns="{ns.BIND2}"><tag/><enable xmlns="{ns.CARBONS}"/><active xmlns="{ns.CSI}"/>'
    f'<inactive xmlns="{ns.CSI}"/><enable xmlns="{ns.STREAM_MANAGEMENT}" resume="" max=""/></bind>'
    f'<resume xmlns="{ns.STREAM_MANAGEMENT}" previd="" h=""/><upgrade xmlns="{ns.SASL_UPGRADE}"/>'
    f'<fast xmlns="{ns.FAST}" count="" invalidate=""/><request-token xmlns="{ns.FAST}" mechanism=""/>'
    "</authenticate>".encode(),
    f'<iq xmlns="{ns.CLIENT}" type="" id="" to="" from=""><bind xmlns="{ns.BIND}"><resource/></bind></iq>'.encode(),
)
"""Elements that hold every name that a client needs to log in."""


class State(Enum):
    NEW = "new"
    AUTHENTICATING = "authenticating"
    RESPONDING = "responding"
    CONTINUING = "continuing"
    UPGRADING = "upgrading"
    AUTHENTICATED = "authenticated"
    BINDING = "binding"
    BOUND = "bound"


class Event(Enum):
    OPEN = "open"
    AUTH = "auth"
    AUTHENTICATE = "authenticate"
    RESPONSE = "response"
    ABORT = "abort"
    NEXT = "next"
    TASK_DATA = "task-data"
    STANZA = "stanza"
    RESUME = "resume"
    ENABLE = "enable"
    OTHER = "other"


class Negotiation:
    """One stream from its first `<open/>` to its resource.

    `new_nonce` makes an unguessable string of printable ASCII, no comma.
    """

    __slots__ = (
        "_attempts",
        "_done",
        "_lacking",
        "_mechanism",
        "_name",
        "_new_nonce",
        "_noted",
        "_offer",
        "_profile",
        "_salt",
        "_sender",
        "_upgrades",
        "_username",
        "jid",
        "request",
        "state",
    )

    def __init__(self, offer: Offer, new_nonce: Callable[[], str]) -> None:
        self._offer = offer
        self._new_nonce = new_nonce
        self._attempts = 0
        self._mechanism: Mechanism | None = None
        self._name = self._username = ""
        self._profile = profile.SASL
        # Whom the client says it is before it proves that, "" if it does not say.
        self._sender = ""
        # Whether a refusal was told as the end of the attempt, which goes on until the client responds.
        self._noted = False
        # What is to follow once the client has done its tasks: the first of `_upgrades` is the one it is at. They are
        # for keys that the account is `_lacking`, and there are none unless the client proves that it has others.
        self._done: Authenticated | None = None
        self._lacking: Collection[str] = ()
        self._upgrades: tuple[str, ...] = ()
        self._salt = b""
        self.state = State.NEW
        self.request: Request | None = None
        """What the client asks for with its log-in, if it uses SASL2."""
        self.jid: Jid | None = None

    @property
    def claimed(self) -> Jid | None:
        """The account that the client says is its own, or has shown to be; None while it has said nothing."""
        if self.jid is not None:
            return self.jid.bare
        if self._done is not None:
            return self._done.account
        try:
            return Jid.make(self._username, self._offer.domain) if self._username else None
        except InvalidJid:
            return None

    def opened(self, sender: str | None = None) -> bytes:
        """Take an `<open/>`, with what it says of who sends it, and return the features that follow ours."""
        if self.state is State.NEW:
            self.state = State.AUTHENTICATING
            self._sender = sender or ""
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

    def keys(self, keys: ScramKeys, lacking: Collection[str] = ()) -> Step:
        """Take the answer to `KeysWanted`: the account's keys, or fake ones that look the same.

        `lacking` are the mechanisms for which it has none: the client may be asked for them.
        """
        self._lacking = lacking
        return self._exchange(lambda mechanism: mechanism.keys(keys))

    def password_checked(self, right: bool) -> Step:
        """Take the answer to `PasswordWanted`."""
        return self._exchange(lambda mechanism: mechanism.password_checked(right))

    def token_checked(self, username: str) -> Step:
        """Take the answer to `TokenWanted`: whose token it is, "" if it lets nobody in."""
        return self._exchange(lambda mechanism: mechanism.token_checked(username))

    def token_known(self, answer: bytes) -> Step:
        """Take the answer to `HashedTokenWanted`: what the server shows of the token, b"" if nobody has it."""
        return self._exchange(lambda mechanism: mechanism.token_known(answer))

    def upgraded(self) -> Step:
        """Learn that the keys of `UpgradeWanted` are kept."""
        self._upgrades = self._upgrades[1:]
        return self._continue(None)

    def account(self, username: str) -> Step:
        """Take the answer to `AccountWanted`."""
        return self._exchange(lambda mechanism: mechanism.account(username))

    def failed(self, failure: SaslFailure) -> Reply:
        """Fail the attempt; after too many the stream ends as well (RFC 6120 section 6.4.5)."""
        self._mechanism = self._done = None
        self._lacking = ()
        self.state = State.AUTHENTICATING
        self._attempts += 1
        attempt = None if self._noted else Attempt(self._name, self._username, failure.condition)
        self._name = self._username = ""
        self._noted = False
        error = None
        if self._attempts >= self._offer.max_attempts:
            error = StreamPolicyViolation("Too many attempts to log in failed", Reason.TOO_MANY_ATTEMPTS)
        return Reply((self._profile.failure(failure),), error, attempt)

    def finished(self, done: Authenticated, session: Jid | None, *inline: bytes, is_counted: bool = False) -> Reply:
        """Let the client in, with the session that it has now, if any, and what its requests are answered."""
        self.jid = done.account
        self.state = State.BINDING if session is None else State.BOUND
        success = sasl2.success((session or done.account).text, done.data, *inline)
        # XEP-0388 section 2.6.1: <success/> "is immediately followed by a <features> element ... Note that no stream
        # restart occurs."
        bound = self._offer.counted if is_counted else self._offer.bound
        features = self._offer.after if session is None else bound
        return Reply((success, features), attempt=done.attempt)

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
        self._profile, self.request = profile.SASL, None
        return self._begin(root.get("mechanism", ""), self._offer.mechanisms, root.text)

    def _authenticate(self, root: Element) -> Step:
        self._profile, self.request = profile.SASL2, None
        try:
            self.request = sasl2.read(root)
        except SaslFailure as failure:
            return self.failed(failure)
        # XEP-0484 section 3.4: a token is shown with <fast/>, and a mechanism is for one of both.
        offered = self._offer.mechanisms if self.request.fast is None else self._offer.tokens
        return self._begin(self.request.mechanism, offered, self.request.initial)

    def _begin(self, name: str, offered: tuple[str, ...], initial: str | None) -> Step:
        if name not in offered:
            return self.failed(SaslInvalidMechanism("Offered are: " + ", ".join(offered)))
        self._name = name
        self._mechanism = self._start(name)
        # RFC 6120 section 6.4.2: no initial response; the client speaks after an empty challenge. It may have nothing
        # to say to ANONYMOUS: XEP-0175 section 4 answers an empty <auth/> with success.
        if not initial and name != anonymous.NAME:
            self.state = State.RESPONDING
            return Reply((self._profile.challenge(b""),))
        return self._respond(initial)

    def _start(self, name: str) -> Mechanism:
        if name in HASHES:
            return Scram(name, self._new_nonce(), self._offer.digests[name])
        return _OTHERS.get(name, Plain)()

    def _response(self, root: Element) -> Step:
        self._follow(root)
        return self._respond(root.text)

    def _respond(self, encoded: str | None) -> Step:
        try:
            data = self._profile.decode(encoded)
        except SaslFailure as failure:
            return self.failed(failure)
        return self._exchange(lambda mechanism: mechanism.respond(data))

    def _follow(self, root: Element) -> None:
        """Go on in the namespace in which the exchange began; what is stray is answered in its own."""
        theirs = profile.of(tag_of(root))
        if self.state is State.AUTHENTICATING:
            self._profile = theirs
        elif theirs is not self._profile:
            raise NotAuthorized("An exchange goes on in the namespace in which it began")

    def _abort(self, root: Element) -> Step:
        self._follow(root)
        return self.failed(SaslAborted("The client aborted"))

    def _stray(self, root: Element) -> Step:
        self._follow(root)
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
            return Reply((self._profile.challenge(step.data),))
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
        return Reply((self._profile.challenge(refusal.data),), attempt=attempt)

    def _prepared(self, username: str) -> str:
        # A name that can be no localpart goes on as it is: no account has it, and its owner learns no more than that.
        try:
            return Jid.make(username, self._offer.domain).local
        except InvalidJid:
            return username

    def _succeed(self, success: Success) -> Step:
        try:
            jid = Jid.make(success.username, self._offer.domain)
            # RFC 6120 section 6.3.8: an authzid is a bare JID. Nobody here may act for somebody else.
            if success.authzid and Jid.parse(success.authzid) != jid:
                raise SaslInvalidAuthzid("You can log in as yourself only")
            # XEP-0388, Initiation: if `from` differs then, "the server MUST fail the authentication".
            if self.request and success.authzid and self._sender and Jid.parse(self._sender).bare != jid:
                raise SaslInvalidAuthzid("The stream is from somebody else")
        except InvalidJid:
            raise SaslInvalidAuthzid("The authorization identity is not a JID") from None
        self._mechanism = None
        attempt = Attempt(self._name, success.username)
        if self.request is None:
            self.jid = jid
            self.state = State.AUTHENTICATED
            return Reply((self._profile.success(success.data),), attempt=attempt)
        self._done = Authenticated(jid, self.request, attempt, success.data or None)
        possible = [each for each in self._offer.upgrades if each in self._lacking]
        self._upgrades = tuple([each for each in self.request.upgrades if each in possible])
        return self._continue(self._done.data)

    def _continue(self, data: bytes | None) -> Step:
        """Name the next task that the client wants to do, or go on."""
        assert self._done is not None
        if not self._upgrades:
            return self._done
        # What the mechanism says last is said once.
        self._done = replace(self._done, data=None)
        self.state = State.CONTINUING
        return Reply((sasl2.go_on(data, self._upgrades[0]),))

    def _next(self, root: Element) -> Step:
        if root.get("task") != sasl2.task(self._upgrades[0]):
            return self.failed(SaslMalformedRequest(f"The task is {sasl2.task(self._upgrades[0])}"))
        # As random as the nonce, and of the form that other keys' salts have: what differs tells who exists.
        self._salt = hashlib.sha256(self._new_nonce().encode()).digest()[:SALT_LENGTH]
        self.state = State.UPGRADING
        return Reply((sasl2.salt(self._salt, ITERATIONS),))

    def _task_data(self, root: Element) -> Step:
        assert self._done is not None
        hash_name = HASHES[self._upgrades[0]]
        try:
            salted = self._profile.decode(sasl2.read_salted(root))
        except SaslFailure as failure:
            return self.failed(failure)
        if len(salted) != hashlib.new(hash_name).digest_size:
            return self.failed(SaslMalformedRequest("The salted password has the wrong length"))
        return UpgradeWanted(self._done.account.local, hash_name, of_salted(salted, self._salt, ITERATIONS, hash_name))

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
        return sm.read_resume(root)

    def _too_early(self, root: Element) -> Step:
        # XEP-0198 section 3: counting begins after a resource is bound.
        return Reply((sm.failed("unexpected-request"),))


_OTHERS: Final[dict[str, Callable[[], Mechanism]]] = {
    anonymous.NAME: Anonymous,
    oauthbearer.NAME: OAuthBearer,
    ht.NAME: HashedToken,
}
_HANDLERS: Final[dict[tuple[State, Event], Callable[[Negotiation, Element], Step]]] = {
    (State.AUTHENTICATING, Event.AUTH): Negotiation._auth,
    (State.AUTHENTICATING, Event.AUTHENTICATE): Negotiation._authenticate,
    (State.AUTHENTICATING, Event.RESPONSE): Negotiation._stray,
    (State.AUTHENTICATING, Event.ABORT): Negotiation._abort,
    (State.RESPONDING, Event.AUTH): Negotiation._stray,
    (State.RESPONDING, Event.RESPONSE): Negotiation._response,
    (State.RESPONDING, Event.ABORT): Negotiation._abort,
    (State.CONTINUING, Event.NEXT): Negotiation._next,
    (State.CONTINUING, Event.ABORT): Negotiation._abort,
    (State.UPGRADING, Event.TASK_DATA): Negotiation._task_data,
    (State.UPGRADING, Event.ABORT): Negotiation._abort,
    (State.BINDING, Event.STANZA): Negotiation._bind,
    (State.BINDING, Event.RESUME): Negotiation._resume,
    (State.BINDING, Event.ENABLE): Negotiation._too_early,
}
_EVENTS: Final = {
    f"{{{ns.SASL}}}auth": Event.AUTH,
    sasl2.AUTHENTICATE: Event.AUTHENTICATE,
    sasl2.NEXT: Event.NEXT,
    sasl2.TASK_DATA: Event.TASK_DATA,
    **{f"{{{own}}}{event.value}": event for own in (ns.SASL, ns.SASL2) for event in (Event.RESPONSE, Event.ABORT)},
    **{f"{{{ns.CLIENT}}}{kind}": Event.STANZA for kind in ("message", "presence", "iq")},
    sm.RESUME: Event.RESUME,
    sm.ENABLE: Event.ENABLE,
}


def _event(root: Element) -> Event:
    return _EVENTS.get(tag_of(root), Event.OTHER)
