"""A snapshot of pg_settings from a file, read with the parser of ``pgtrace ingest`` but into no lake."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pgtrace import registry
from pgtrace.errors import UsageError
from pgtrace.logformat import Reading

_FORMAT = "settings"


def read_snapshot(path: Path) -> pl.DataFrame:
    """The rows of table ``setting`` that a file holds. Raises UsageError where it is no such snapshot."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    kind = registry.log_formats()[_FORMAT]
    reading = kind.sniff(text[: 256 * 1024], Reading(_FORMAT))
    if reading is None:
        raise UsageError(
            f"{path}: no snapshot of settings: make one with "
            r"\copy (select now() as snapshot_at, * from pg_settings) to 'settings.csv' csv header"
        )
    [table] = kind.tables
    rows = kind.read(text, reading, 1).tables[table.name]
    if rows.is_empty():
        raise UsageError(f"{path}: no row of it can be read as a setting")
    return rows
