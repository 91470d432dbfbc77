"""The end of an account, while the server runs."""

from __future__ import annotations

import asyncio

from xmppws.core.auth import Accounts
from xmppws.core.events import AccountEnding
from xmppws.core.host import Host
from xmppws.errors import NotAuthorized, Reason
from xmppws.jid import Jid


async def delete_account(host: Host, account: Jid) -> int | None:
    """Delete an account with all its data: return how many sessions of it have ended, or None if there is none.

    Its sessions end first, those that hibernate too: what they leave behind goes with the account, and its contacts
    learn that it is gone. Who is logging in to it has to begin anew.
    """
    accounts = next((each for each in host.providers if isinstance(each, Accounts)), None)
    if accounts is None or not await host.exists(account.local):
        return None
    ended = await _end_sessions(host, account)
    await host.hooks.finish(AccountEnding(account))
    # What others have sent it would be written after its data are gone.
    if (written := host.stores.settled(gathered=True)) is not None:
        await written
    await accounts.delete(account.local)
    # Somebody may have logged in meanwhile.
    if late := await _end_sessions(host, account):
        await accounts.delete(account.local)
    return ended + late


async def _end_sessions(host: Host, account: Jid) -> int:
    """End all sessions of an account, and wait for what that makes modules do."""
    sessions, before = host.sessions.of(account), host.dispatch.ongoing
    handling = {session.handling for session in sessions if session.handling is not None}
    newcomers = [each for each in host.newcomers if each.account == account]
    for client in (*sessions, *newcomers):
        client.stream.end(NotAuthorized("The account was deleted", Reason.ACCOUNT_DELETED))
    if unfinished := handling | (host.dispatch.ongoing - before):
        await asyncio.wait(unfinished)
    return len(sessions)
