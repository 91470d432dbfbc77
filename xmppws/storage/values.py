"""Values as they are kept: JSON, checked against their type when they are read."""

from typing import Generic, TypeVar

import msgspec

from xmppws.core.stores import StorageError

T = TypeVar("T")


class Values(Generic[T]):
    """Encodes and decodes the values of one store."""

    def __init__(self, store: str, type_: type[T]) -> None:
        self._store = store
        self.encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(type_).decode

    def decode(self, owner: str, data: bytes) -> T:
        """Return the value; raise `StorageError` if it is not of the store's type."""
        try:
            return self._decode(data)
        except msgspec.DecodeError as error:
            raise StorageError(f"the value of {owner!a} in store {self._store} cannot be read: {error}") from None
