"""The admin socket: one request a line, one answer a line, in JSON.

| request                                              | answers                                          |
|------------------------------------------------------|--------------------------------------------------|
| `{"command": "sessions", "args": {"whose": "a@b"}}`  | `{"rows": [...]}` or `{"error": "..."}`           |
| `{"command": "watch", "args": {"jid": "a@b"}}`       | one row, then `{"event": {...}}` until input ends |

The mode of the socket's file says who may: whoever can connect is an admin. A client that says nothing, or reads
nothing, is dropped after a while, and holds up nobody before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from xmppws.admin.commands import COMMANDS, Arguments, account
from xmppws.admin.served import Served
from xmppws.admin.sessions import seen
from xmppws.admin.watcher import LineWatcher
from xmppws.core.admin import AdminError
from xmppws.core.audit import audit

log = logging.getLogger("xmppws.admin")

MAX_LINE: Final = 64 * 1024
MAX_CLIENTS: Final = 32
IDLE_TIMEOUT: Final = 60.0
WRITE_TIMEOUT: Final = 10.0


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a client."""

    command: str
    args: Mapping[str, Any] = {}


class OfWatch(Arguments):
    """`jid`: the account to watch."""

    jid: str


class AdminSocket:
    """Serves the clients of the socket: listen with `protocol` as the factory, and `stop` in the end."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._clients: set[asyncio.Task[None]] = set()

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """Make the protocol of a new connection."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(MAX_LINE), self._connected)

    async def stop(self) -> None:
        """Drop all clients."""
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = len(self._clients) >= MAX_CLIENTS
        task = asyncio.ensure_future(self._serve(Client(self._server, reader, writer), full))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, client: Client, full: bool) -> None:
        try:
            if full:
                await client.answer({"error": f"there are {MAX_CLIENTS} clients of the admin socket already"})
                return
            while await client.take():
                pass
        except (OSError, TimeoutError):
            log.debug("a client of the admin socket has gone, or does not read")
        finally:
            client.close()


class Client:
    """One client of the socket."""

    def __init__(self, server: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        # So an answer is over when all of it was taken.
        writer.transport.set_write_buffer_limits(high=0)

    async def take(self) -> bool:
        """Take one request and answer it; return whether there may be another."""
        try:
            async with asyncio.timeout(IDLE_TIMEOUT):
                line = await self._reader.readline()
        except ValueError:
            await self.answer({"error": f"a request is one line of at most {MAX_LINE} bytes"})
            return False
        if not line:
            return False
        try:
            request = _read(line)
            if request.command == "watch":
                await self._watch(_arguments(OfWatch, request))
                return False
            await self.answer({"rows": await self._run(request)})
        except AdminError as error:
            await self.answer({"error": str(error)})
        return True

    async def answer(self, answer: dict[str, Any]) -> None:
        """Send a line. Raises TimeoutError when it is not read."""
        self._writer.write(msgspec.json.encode(answer) + b"\n")
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._writer.drain()

    def close(self) -> None:
        """Close the connection; what was not read by now is dropped."""
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def _run(self, request: Request) -> list[dict[str, Any]]:
        command = COMMANDS.get(request.command)
        if command is None:
            known = ", ".join([*COMMANDS, "watch"])
            raise AdminError(f"there is no command {request.command[:40]!r}; there are: {known}")
        args = _arguments(command.arguments, request)
        if command.audited and not (request.command == "admin" and not request.args.get("name")):
            self._audit(request.command, getattr(args, command.audited))
        try:
            return await command.run(self._server, args)
        except AdminError:
            raise
        except Exception as error:
            log.exception("the admin command %s failed", request.command)
            raise AdminError(f"{request.command} failed; the server's log says more") from error

    async def _watch(self, args: OfWatch) -> None:
        jid = account(args.jid).text
        self._audit("watch", jid)
        stop = self._server.connections.watch(jid, LineWatcher(self._writer))
        try:
            asleep = [each.hibernates for each in seen(self._server) if each.facts.user == jid]
            await self.answer(
                {"rows": [{"watching": jid, "connections": asleep.count(False), "hibernating": sum(asleep)}]}
            )
            # It ends when the client goes, or says anything.
            await self._reader.read(1)
        finally:
            stop()

    def _audit(self, action: str, target: str) -> None:
        audit(action, target=target, uid=_peer_uid(self._writer))


def _read(line: bytes) -> Request:
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, RecursionError) as error:
        example = '{"command": "status", "args": {}}'
        raise AdminError(f"a request is a line such as {example}: {error}") from None


def _arguments(type: type[msgspec.Struct], request: Request) -> Any:
    try:
        return msgspec.convert(request.args, type)
    except msgspec.ValidationError as error:
        raise AdminError(f"{request.command}: {error}") from None


def _peer_uid(writer: asyncio.StreamWriter) -> int | None:
    """Return who is at the other end, where the system tells."""
    with suppress(OSError, AttributeError):
        size = struct.calcsize("3i")
        credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _, uid, _ = struct.unpack("3i", credentials)
        return int(uid)
    return None
