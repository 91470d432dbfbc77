"""The end of an account while the server runs."""

from __future__ import annotations

from collections.abc import Mapping

from fakes import Users, World, stream_of
from xmppws.core.deletion import delete_account
from xmppws.core.events import AccountEnding, SessionEnded
from xmppws.core.hooks import Phase
from xmppws.core.session import Session
from xmppws.errors import Reason, StreamError
from xmppws.jid import Jid

ALICE = Jid.parse("alice@localhost")


class Accounts(Users):
    """Accounts that can be deleted; while that goes on, somebody logs in to the first one."""

    def __init__(self, world: World, log: list[str], *names: str) -> None:
        super().__init__(*names)
        self.world = world
        self.log = log
        self.late: list[Session] = []

    async def create(self, username: str, password: str) -> None:
        raise AssertionError

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        raise AssertionError

    async def create_hashed(self, hashes: Mapping[str, str]) -> None:
        raise AssertionError

    async def set_password(self, username: str, password: str) -> bool:
        raise AssertionError

    async def delete(self, username: str) -> bool:
        self.log.append("deleted")
        if not self.late:
            self.late.append(ending(self.world, f"{username}@localhost/late"))
        self.names.discard(username)
        return True

    async def list(self) -> list[str]:
        raise AssertionError


def ending(world: World, jid: str) -> Session:
    """Bind a session that is over when its stream is, as a router sees to."""
    session = world.session(jid)
    stream = stream_of(session)

    def end(error: StreamError | None = None) -> None:
        assert error is not None
        stream.error = error
        world.host.unbind(session, error.end)

    stream.end = end  # type: ignore[method-assign]
    return session


async def test_all_sessions_end_before_the_data_goes_and_who_came_meanwhile() -> None:
    world, log = World(), list[str]()
    accounts = Accounts(world, log, "alice", "bob")
    world.host.providers = (accounts,)  # type: ignore[assignment]

    async def ended(event: SessionEnded) -> None:
        log.append(f"{event.session.jid.resource} {event.end.reason.id}")

    async def leaving(event: AccountEnding) -> None:
        log.append(f"{event.account} leaves")

    world.host.hooks.add(SessionEnded, Phase.DELIVER, ended, "test")
    world.host.hooks.add(AccountEnding, Phase.DELIVER, leaving, "test")
    ending(world, "alice@localhost/one")
    ending(world, "alice@localhost/two")
    bob = ending(world, "bob@localhost/x")
    assert await delete_account(world.host, ALICE) == 3
    reason = Reason.ACCOUNT_DELETED.id
    assert log == [
        *(f"one {reason}", f"two {reason}", "alice@localhost leaves", "deleted"),
        *(f"late {reason}", "deleted"),
    ]
    assert list(world.host.sessions) == [bob]
    assert await delete_account(world.host, ALICE) is None


async def test_a_host_without_accounts_of_its_own() -> None:
    world = World()
    session = ending(world, "alice@localhost/one")
    assert await delete_account(world.host, ALICE) is None
    assert list(world.host.sessions) == [session]
