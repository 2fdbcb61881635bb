"""The ledger: what was read of every source, and which parts hold it. SQLite, because it survives a power cut.

A batch is recorded together with the new state of its source in one transaction, while its parts are still in the
staging folder; whoever finds such a batch moves the parts into place. So the bytes of a source and its parts never
disagree, wherever the writer was stopped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from pathlib import Path

from pgtrace.lake.failures import telling

_SCHEMA = """
create table if not exists source (
    source_id text primary key, server text not null, state text not null, carry blob, carry_after_tail blob
);
create table if not exists part (
    path text primary key, table_name text not null, server text not null, day text, source_id text,
    rows integer not null, bytes integer not null, provisional text not null, batch_id integer not null
);
create index if not exists part_source on part (source_id, provisional);
create table if not exists batch (batch_id integer primary key, staging text not null, is_done integer not null);
create table if not exists removal (batch_id integer not null, path text not null);
create table if not exists pruned (source_id text primary key, lines integer not null, unparsed integer not null);
"""


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of one source: who it is, how it is read, how far it was read, and what that gave.

    ``offset`` and ``line_no`` (byte of decompressed text, and line) are where reading goes on; the last record
    of a file that may grow lies behind them (``tail_bytes``, ``tail_lines``) and is read again. ``lines``,
    ``records`` and ``unparsed`` count what is in the tables, with the tail. ``carry`` is what joining left open at
    ``offset``, ``carry_after_tail`` behind the tail. ``wal_end`` says of a WAL segment how reading it ended: see
    pgtrace.ingest.walsegments.
    """

    source_id: str
    server: str
    path: str
    head_length: int
    head_hash: str
    log_format: str
    prefix: str | None = None
    is_prefix_given: bool = False
    timezone: str | None = None
    line_end: str = "\n"
    columns: int | None = None
    size_bytes: int | None = None
    mtime_ns: int | None = None
    device: int | None = None
    inode: int | None = None
    offset: int = 0
    line_no: int = 1
    lines: int = 0
    records: int = 0
    unparsed: int = 0
    tail_bytes: int = 0
    tail_lines: int = 0
    tail_records: int = 0
    tail_unparsed: int = 0
    held_back_bytes: int = 0
    held_back_lines: int = 0
    wal_end: str | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    ingested_at: datetime | None = None
    carry: bytes | None = None
    carry_after_tail: bytes | None = None


_ADD_PRUNED = """
insert into pruned values (?1, ?2, ?3)
on conflict (source_id) do update set lines = lines + ?2, unparsed = unparsed + ?3
"""
_BLOBS = ("carry", "carry_after_tail")
_TIMES = ("first_at", "last_at", "ingested_at")


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file: ``path`` is below the lake; ``provisional`` is empty, or names what replaces it later."""

    path: str
    table: str
    server: str
    day: date | None
    source_id: str | None
    rows: int
    size: int
    provisional: str = ""


class Ledger:
    """Opens (and makes) the ledger at ``path``. Use it from one thread."""

    def __init__(self, path: Path):
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def sources(self, server: str | None = None) -> list[SourceState]:
        """States of all sources, or of one server's, in the order of their first times."""
        rows = self._connection.execute(
            "select state, carry, carry_after_tail from source where ?1 is null or server = ?1", (server,)
        )
        states = [_state(*row) for row in rows]
        return sorted(states, key=lambda state: (state.server, str(state.first_at), state.path))

    def source(self, source_id: str) -> SourceState | None:
        """The state of one source, None if it is not known."""
        row = self._connection.execute(
            "select state, carry, carry_after_tail from source where source_id = ?", (source_id,)
        ).fetchone()
        return None if row is None else _state(*row)

    def parts(self) -> list[Part]:
        """All parts that are, or are about to be, in place."""
        rows = self._connection.execute(
            "select path, table_name, server, day, source_id, rows, bytes, provisional from part order by path"
        )
        return [
            Part(path, table, server, date.fromisoformat(day) if day else None, source_id, count, size, provisional)
            for path, table, server, day, source_id, count, size, provisional in rows
        ]

    def provisional(self, source_id: str, kinds: Iterable[str]) -> list[str]:
        """Paths of a source's provisional parts of these kinds."""
        wanted = list(kinds)
        marks = ",".join("?" * len(wanted))
        rows = self._connection.execute(
            f"select path from part where source_id = ? and provisional in ({marks})",
            (source_id, *wanted),
        )
        return [row[0] for row in rows]

    def record(
        self,
        staging: str,
        parts: Sequence[Part],
        gone: Sequence[str],
        state: SourceState | None,
        pruned: Sequence[tuple[str, int, int]] = (),
        ended: Sequence[SourceState] = (),
    ) -> int:
        """Record a batch in one transaction: its parts, the parts that go, the source's new state. Returns its number.

        ``pruned`` are lines that go for good: (source, lines of records, unparsed lines); ``ended`` are new states of
        sources whose tails went with them. Raises LakeError; nothing is recorded then.
        """
        execute = self._connection.execute
        with self._transaction():
            batch_id = execute("insert into batch (staging, is_done) values (?, 0)", (staging,)).lastrowid
            assert batch_id is not None
            for path in gone:
                execute("delete from part where path = ?", (path,))
                execute("insert into removal values (?, ?)", (batch_id, path))
            for part in parts:
                day = None if part.day is None else part.day.isoformat()
                values = (
                    part.path,
                    part.table,
                    part.server,
                    day,
                    part.source_id,
                    part.rows,
                    part.size,
                    part.provisional,
                )
                execute("insert or replace into part values (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, batch_id))
            if state is not None:
                self.save(state)
            for item in ended:
                self.save(item)
            self._connection.executemany(_ADD_PRUNED, pruned)
        return batch_id

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, also where the commit itself fails: a full disk shows only then."""
        with telling("the lake's ledger cannot be written"):
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def save(self, state: SourceState) -> None:
        """Write a source's state."""
        values = (state.source_id, state.server, _text(state), state.carry, state.carry_after_tail)
        self._connection.execute("insert or replace into source values (?, ?, ?, ?, ?)", values)

    def pruned(self) -> dict[str, tuple[int, int]]:
        """Lines of records and unparsed lines that were pruned, by source."""
        return {row[0]: (row[1], row[2]) for row in self._connection.execute("select * from pruned")}

    def unfinished(self) -> list[tuple[int, str]]:
        """Batches that are recorded and not in place: number and staging folder."""
        return list(self._connection.execute("select batch_id, staging from batch where is_done = 0 order by batch_id"))

    def batch_paths(self, batch_id: int) -> tuple[list[str], list[str]]:
        """Parts that a batch puts in place, and those that it removes (unless they are parts again)."""
        into = [row[0] for row in self._connection.execute("select path from part where batch_id = ?", (batch_id,))]
        out = self._connection.execute(
            "select path from removal where batch_id = ? and path not in (select path from part)", (batch_id,)
        )
        return into, [row[0] for row in out]

    def finished(self, batch_id: int) -> None:
        """A batch's parts are in place."""
        with self._transaction():
            self._connection.execute("delete from removal where batch_id = ?", (batch_id,))
            self._connection.execute("delete from batch where batch_id = ?", (batch_id,))


def _text(state: SourceState) -> str:
    values = {key: value for key, value in asdict(state).items() if key not in _BLOBS}
    return json.dumps(
        {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
    )


def _state(text: str, carry: bytes | None, carry_after_tail: bytes | None) -> SourceState:
    known = {item.name for item in fields(SourceState)}
    values = {key: value for key, value in json.loads(text).items() if key in known}
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
    return SourceState(**values, carry=carry, carry_after_tail=carry_after_tail)
