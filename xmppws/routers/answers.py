"""What the negotiation of a stream asks of a host's accounts, answered by their providers."""

from __future__ import annotations

import logging

from xmppws.core.auth import Identity, Unavailable
from xmppws.core.host import Host
from xmppws.core.providers import Login, Providers, Refused
from xmppws.core.router import Stream
from xmppws.core.stores import StorageError
from xmppws.errors import SaslFailure, SaslTemporaryAuthFailure
from xmppws.routers.fast import Tokens
from xmppws.routers.guest import Guest
from xmppws.stream.c2s import Negotiation
from xmppws.stream.sasl import (
    AccountWanted,
    HashedTokenWanted,
    KeysWanted,
    PasswordWanted,
    Question,
    TokenWanted,
    UpgradeWanted,
)
from xmppws.stream.steps import Step

log = logging.getLogger("xmppws.login")


class Answers:
    """The answers for one stream.

    `login` is who lets the client in, if what it still has to prove is right; `guest` is there when it is anonymous.
    `is_due` tells that the token that it has shown should be replaced.
    """

    __slots__ = ("_host", "_negotiation", "_providers", "_stream", "_tokens", "guest", "is_due", "login")

    def __init__(
        self, host: Host, providers: Providers, tokens: Tokens, stream: Stream, negotiation: Negotiation
    ) -> None:
        self._host = host
        self._providers = providers
        self._tokens = tokens
        self._stream = stream
        self._negotiation = negotiation
        self.login: Login | None = None
        self.guest: Guest | None = None
        self.is_due = False

    @property
    def identity(self) -> Identity | None:
        """What the token says that was shown to log in."""
        return self.login.identity if self.login is not None else None

    def expect(self, question: Question | UpgradeWanted) -> None:
        """Note what must be known before the question is answered: the stream may end meanwhile."""
        if isinstance(question, AccountWanted):
            anonymous = self._providers.anonymous
            assert anonymous is not None
            self.guest = Guest(self._host, anonymous)
            self.login = Login(anonymous.name)

    async def to(self, question: Question | UpgradeWanted) -> Step:
        """Answer a question; return what follows."""
        try:
            return await self._to(question)
        except SaslFailure as failure:
            return self._negotiation.failed(failure)
        except (StorageError, Unavailable):
            self.guest = None
            return self._negotiation.failed(SaslTemporaryAuthFailure("Accounts cannot be read at the moment"))

    async def _to(self, question: Question | UpgradeWanted) -> Step:
        if isinstance(question, KeysWanted):
            return await self._to_keys(question)
        if isinstance(question, PasswordWanted):
            return await self._to_password(question)
        if isinstance(question, TokenWanted):
            return await self._to_token(question)
        if isinstance(question, HashedTokenWanted):
            return await self._to_hashed_token(question)
        if isinstance(question, UpgradeWanted):
            return await self._to_upgrade(question)
        assert self.guest is not None
        await self.guest.admit()
        return self._negotiation.account(self.guest.username)

    async def _to_keys(self, question: KeysWanted) -> Step:
        keys, self.login = await self._providers.scram_keys(question.username, question.hash_name)
        request = self._negotiation.request
        if request is None or not request.upgrades:
            return self._negotiation.keys(keys)
        # Asked for unknown users as well: how long the answer takes must not tell who exists.
        return self._negotiation.keys(keys, await self._providers.lacking(question.username))

    async def _to_password(self, question: PasswordWanted) -> Step:
        try:
            self.login = await self._providers.verify_password(question.username, question.password)
        except Refused as refused:
            self._refused(refused)
        return self._negotiation.password_checked(self.login is not None)

    async def _to_token(self, question: TokenWanted) -> Step:
        try:
            self.login = await self._providers.verify_token(question.token)
        except Refused as refused:
            self._refused(refused)
        return self._negotiation.token_checked(self.identity.username if self.identity else "")

    async def _to_hashed_token(self, question: HashedTokenWanted) -> Step:
        request = self._negotiation.request
        assert request is not None and request.fast is not None
        self.login = None
        accepted = await self._tokens.check(question.username, request.agent, question.hashed, request.fast)
        self.login, self.is_due = accepted.login, accepted.is_due
        return self._negotiation.token_known(accepted.answer)

    async def _to_upgrade(self, question: UpgradeWanted) -> Step:
        assert self.login is not None
        await self._providers.add_keys(self.login, question.username, question.hash_name, question.keys)
        return self._negotiation.upgraded()

    def _refused(self, refused: Refused) -> None:
        self.login = None
        if str(refused):
            facts = {"id": self._stream.id, "host": self._host.domain}
            log.info("id=%s host=%s: the token is refused: %s", *facts.values(), refused, extra=facts)
