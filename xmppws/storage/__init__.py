"""Where the data of the stores lies: in memory or in SQLite."""

from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from xmppws.core.stores import Storage, StorageError
from xmppws.storage.memory import MemoryStorage
from xmppws.storage.sql import SqlStorage
from xmppws.storage.sqlite import SqliteDatabase

DEFAULT_FILE = "xmppws.sqlite"


def open_storage(url: str, data_dir: Path) -> Storage:
    """Return the storage of a URL, not yet open; raise `StorageError` for a URL that names none.

    "sqlite:" is `data_dir`/xmppws.sqlite, "sqlite:PATH" a file, relative to `data_dir`; "memory:" keeps nothing.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStorage()
    if parts.scheme == "sqlite" and not parts.netloc:
        return SqlStorage(SqliteDatabase(data_dir / (parts.path or DEFAULT_FILE)))
    raise StorageError(f'unknown storage "{parts.scheme}:": use "sqlite:", "sqlite:/path/to/file" or "memory:"')


def identity(url: str, data_dir: Path) -> str:
    """Return a name of a storage by which two programs find out that they use the same one; it shows no password."""
    return sha256(f"{url}\0{data_dir.resolve()}".encode()).hexdigest()
