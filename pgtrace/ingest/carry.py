"""What one part of a log leaves open for the next: rows that wait for their other half, as bytes for the ledger."""

from __future__ import annotations

import io

import polars as pl

from pgtrace import registry
from pgtrace.ingest.reader import Rows

Waiting = dict[str, pl.DataFrame]


def join_rows(rows: Rows, waiting: Waiting) -> tuple[Waiting, Waiting]:
    """Join the rows of one chunk with what the chunks before it left open; ``rows.tables`` is changed in place.

    Returns what is open now, and those of it that are rows already if nothing more comes.
    """
    still_waiting: Waiting = {}
    open_rows: Waiting = {}
    for table, message in registry.message_types().items():
        if message.join_with is None or (table not in rows.tables and table not in waiting):
            continue
        own = rows.tables.get(table)
        if own is None:
            own = waiting[table].clear()
        joined = message.join_with(own, rows.failed, waiting.get(table))
        rows.tables[table] = joined.rows.select(list(message.stored_columns))
        if joined.waiting is not None:
            still_waiting[table] = joined.waiting
        if joined.open_rows is not None:
            open_rows[table] = joined.open_rows.select(list(message.stored_columns))
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
