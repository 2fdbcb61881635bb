"""Where things are in a lake.

LAKE/pgtrace.duckdb                                          views and macros, for any DuckDB client
LAKE/tables/<table>/server=<name>/date=<day>/<part>.parquet  the rows
LAKE/ledger.sqlite                                           which bytes of which source are in which parts
LAKE/staging/<batch>/…                                       parts that are not committed yet
LAKE/lock                                                    held by the one writer
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from pgtrace.errors import UsageError

#: what Hive, Spark and DuckDB call the folder of rows without a value
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
#: bytes; file systems allow 255, and ``server=`` takes some
_LONGEST_NAME = 240


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one lake."""

    root: Path

    @property
    def tables(self) -> Path:
        """The rows."""
        return self.root / "tables"

    @property
    def staging(self) -> Path:
        """Parts that are not committed yet."""
        return self.root / "staging"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.root / "ledger.sqlite"

    @property
    def catalog(self) -> Path:
        """The catalog for other DuckDB clients."""
        return self.root / "pgtrace.duckdb"

    @property
    def lock(self) -> Path:
        """The file that the writer locks."""
        return self.root / "lock"

    def empty_part(self, table: str) -> Path:
        """A file without rows that gives every table its columns before anything was ingested."""
        return self.tables / table / f"server={NO_VALUE}" / f"date={NO_VALUE}" / "empty.parquet"

    def glob(self, table: str) -> str:
        """All parts of a table, for DuckDB's read_parquet; its own path may hold what a glob takes for a sign."""
        root = "".join(f"[{letter}]" if letter in "[*?{" else letter for letter in self.tables.as_posix())
        return f"{root}/{table}/*/*/*.parquet"


def check_server(server: str) -> None:
    """Raises UsageError for a name that no folder can have: empty, not UTF-8, or longer than file systems allow."""
    try:
        encoded = quote(server, safe="")
    except UnicodeEncodeError:
        raise UsageError(f"server {server!a}: the name is not valid UTF-8; give another with --server") from None
    if not encoded:
        raise UsageError("the server's name is empty; give one with --server")
    if len(encoded) > _LONGEST_NAME:
        raise UsageError(f"server '{server[:40]}…': the name is too long for a folder; give a shorter --server")


def part_path(table: str, server: str, day: date | None, name: str) -> str:
    """A part's path below the lake; the server's name is encoded as in a URL, which DuckDB and Spark undo."""
    folder = NO_VALUE if day is None else day.isoformat()
    return f"tables/{table}/server={quote(server, safe='')}/date={folder}/{name}.parquet"
