"""A name server on loopback, over UDP and TCP, that serves a zone and misbehaves as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

NEGATIVE_TTL = 30


@dataclass
class NameServer:
    """What it serves and how: names are written without the dot at the end.

    `validated` sets AD, for whoever asks for it; `dropped` names get no answer, `failing` ones SERVFAIL, `held` ones
    none until `release`.
    `questions` are those that came by UDP, `by_tcp` the others.
    """

    port: int = 0
    zone: dict[str, list[dns.rrset.RRset]] = field(default_factory=dict)
    validated: bool = False
    dropped: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    questions: list[str] = field(default_factory=list)
    by_tcp: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, kind: str, *records: str, ttl: int = 300) -> None:
        """Serve records, written as in a zone file."""
        self.zone.setdefault(name, []).append(dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *records))

    async def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        question = dns.message.from_wire(wire)
        (asked,) = question.question
        name = asked.name.to_text(omit_final_dot=True)
        (self.by_tcp if tcp else self.questions).append(f"{RdataType(asked.rdtype).name} {name}")
        if name in self.held:
            await self.release.wait()
        if name in self.dropped:
            return None
        response = dns.message.make_response(question, recursion_available=True)
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        if self.validated and question.flags & dns.flags.AD:
            response.flags |= dns.flags.AD
        self._fill(response, name, asked.rdtype)
        filled = response.to_wire(max_size=65535)
        if tcp or len(filled) <= max(question.payload, 512):
            return filled
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: RdataType) -> None:
        for records in self.zone.get(name, []):
            if records.rdtype in (kind, RdataType.CNAME):
                response.answer.append(records)
            if records.rdtype == RdataType.CNAME:
                self._fill(response, records[0].target.to_text(omit_final_dot=True), kind)
        if not response.answer:
            if not any(known == name or known.endswith(f".{name}") for known in self.zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.invalid. root.invalid. 1 3600 600 86400 {NEGATIVE_TTL}"
            apex = dns.name.from_text(name).parent()
            response.authority.append(dns.rrset.from_text(apex, NEGATIVE_TTL, "IN", "SOA", soa))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is no subclass of DatagramTransport.
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := await self._server.answer(data, tcp=False)) is not None:
            self._transport.sendto(answer, addr)

    async def close(self) -> None:
        self._transport.close()
        tasks = list(self._answering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Serve on a free port of loopback."""
    server = NameServer()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            if (found := await server.answer(await reader.readexactly(length), tcp=True)) is not None:
                writer.write(len(found).to_bytes(2, "big") + found)
                await writer.drain()
        finally:
            writer.close()

    tcp = await asyncio.start_server(answer, "127.0.0.1", 0)
    server.port = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, udp = await loop.create_datagram_endpoint(lambda: _Udp(server), ("127.0.0.1", server.port))
    try:
        yield server
    finally:
        await udp.close()
        tcp.close()
        await tcp.wait_closed()
