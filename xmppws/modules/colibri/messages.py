"""The messages of Colibri WebSockets: JSON objects, told apart by their `colibriClass`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Message: TypeAlias = dict[str, Any]

SERVER_HELLO: Final = b'{"colibriClass":"ServerHello"}'


class Malformed(ValueError):
    """It is no such message; the text says why, and repeats nothing of it."""


def read(payload: bytes) -> Message:
    """Read a message. Raises `Malformed`."""
    try:
        message = _decoder.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error) if isinstance(error, Malformed) else "it is no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("colibriClass"), str):
        raise Malformed("it is no object with a colibriClass")
    return message


def write(message: Mapping[str, Any]) -> bytes:
    """Write a message."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def connectivity(endpoint: str, is_active: bool) -> bytes:
    """Write that an endpoint has lost its connection, or has one again. The bridge's clients expect a text there."""
    active = "true" if is_active else "false"
    return write({"colibriClass": "EndpointConnectivityStatusChangeEvent", "endpoint": endpoint, "active": active})


def _object(pairs: list[tuple[str, Any]]) -> Message:
    found = dict(pairs)
    if len(found) < len(pairs):
        # What one reader takes from it, another may not.
        raise Malformed("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise Malformed("NaN and infinity are no JSON")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
