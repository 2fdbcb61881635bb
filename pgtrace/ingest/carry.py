"""What one part of a log leaves open for the next: rows that wait for their other half, as bytes for the ledger."""

from __future__ import annotations

import io

import polars as pl

from pgtrace import registry
from pgtrace.ingest.reader import Rows
from pgtrace.ingest.redaction import after_join

Waiting = dict[str, pl.DataFrame]


def join_rows(rows: Rows, waiting: Waiting) -> tuple[Waiting, Waiting]:
    """Join the rows of one chunk with what the chunks before it left open; ``rows.tables`` is changed in place.

    Returns what is open now, and those of it that are rows already if nothing more comes.
    """
    still_waiting: Waiting = {}
    open_rows: Waiting = {}
    for table, join in registry.joins().items():
        if table not in rows.tables and table not in waiting:
            continue
        own = rows.tables.get(table)
        if own is None:
            own = waiting[table].clear()
        joined = join(own, rows.failed, waiting.get(table))
        stored = list(registry.tables()[table].stored_columns)
        rows.tables[table] = after_join(joined.rows.select(stored), rows.is_redacted, waiting.get(table))
        if joined.waiting is not None:
            still_waiting[table] = joined.waiting
        if joined.open_rows is not None:
            open_rows[table] = after_join(joined.open_rows.select(stored), rows.is_redacted, waiting.get(table))
    return still_waiting, open_rows


def to_bytes(waiting: Waiting) -> bytes:
    """Arrow IPC, one stream per table behind its name and length; empty where nothing waits."""
    parts = []
    for table, frame in sorted(waiting.items()):
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="zstd")
        name = table.encode()
        parts += [len(name).to_bytes(2, "big"), name, buffer.tell().to_bytes(8, "big"), buffer.getvalue()]
    return b"".join(parts)


def from_bytes(blob: bytes | None) -> Waiting:
    """Read what ``to_bytes`` wrote."""
    waiting: Waiting = {}
    stream = io.BytesIO(blob or b"")
    while head := stream.read(2):
        name = stream.read(int.from_bytes(head, "big")).decode()
        waiting[name] = pl.read_ipc(stream.read(int.from_bytes(stream.read(8), "big")))
    return waiting
