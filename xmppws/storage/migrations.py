"""The tables in SQLite, and how older files become new ones.

The number of the last migration a file has seen is its `PRAGMA user_version`. Migrations are only ever appended.
"""

import sqlite3
from pathlib import Path

from xmppws.core.stores import StorageError

# A key begins with host and owner, so that all data of an owner lies together and is purged as one range.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE keyvalue (
            host TEXT NOT NULL, owner TEXT NOT NULL, store TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (host, owner, store)
        ) WITHOUT ROWID""",
        """CREATE TABLE map (
            host TEXT NOT NULL, owner TEXT NOT NULL, store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (host, owner, store, key)
        ) WITHOUT ROWID""",
        # With row ids, as entries are long and come for all owners in turn: they fill one page after the other.
        """CREATE TABLE archive (
            host TEXT NOT NULL, owner TEXT NOT NULL, store TEXT NOT NULL, id TEXT NOT NULL,
            with_ TEXT NOT NULL, data BLOB NOT NULL
        )""",
        # The last column finds one conversation without reading the entries of all others. An index of its own for that
        # would make appending half as fast.
        "CREATE UNIQUE INDEX archive_by_time ON archive (host, owner, store, id, with_)",
    ),
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file's tables up to date in one transaction; raise `StorageError` for a file newer than this program."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate(connection, path)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StorageError(
            f"{path} was written by a newer xmppws (its format is {version}, this program knows up to "
            f"{len(MIGRATIONS)}): update xmppws, or use another file"
        )
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
