"""The demo's two accounts, and what `xmppws serve --demo` says when it is up."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from xmppws.app import Server
from xmppws.core.auth import Accounts
from xmppws.core.host import Host
from xmppws.core.roster import RosterItem, Subscription

_NAMES: Final = ("alice", "bob")


async def greet(server: Server) -> None:
    """Make the accounts, and say what there is and what to try."""
    made = await _make_accounts(server.hosts["localhost"])
    port = server.addresses[0].port
    print(f"\nxmppws is up.  Console:    http://localhost:{port}/")
    print(f"               WebSocket:  ws://localhost:{port}/xmpp-websocket\n")
    for name in _NAMES:
        password = made.get(name)
        print(f"  {name}@localhost  {f'password {password}' if password else 'keeps its password'}")
    if len(made) < len(_NAMES):
        print("\nA forgotten password: xmppws user passwd alice@localhost -c conf/demo.toml")
    print("\nTry: open the console in two windows, log in as alice and as bob, and write to each other.")
    print("Ctrl-C stops the server.\n", flush=True)


async def _make_accounts(host: Host) -> Mapping[str, str]:
    """Make the accounts that are missing, each in the other's roster, and return the passwords made."""
    accounts = host.providers[0]
    assert isinstance(accounts, Accounts)
    present = set(await accounts.list())
    made = {name: secrets.token_urlsafe(9) for name in _NAMES if name not in present}
    await accounts.create_many(made)
    roster = host.stores.map("roster", RosterItem)
    for name in made:
        for other in _NAMES:
            if other != name:
                await roster.set(name, f"{other}@{host.domain}", RosterItem(other.title(), (), Subscription.BOTH))
    return made
