"""A lake on disk: open it, read it with DuckDB, write it one batch at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO

import duckdb
import polars as pl

from pgtrace.errors import LakeError
from pgtrace.lake import catalog, upkeep
from pgtrace.lake.batch import Batch, finish, sync
from pgtrace.lake.failures import telling
from pgtrace.lake.layout import Layout, check_server
from pgtrace.lake.ledger import Ledger, SourceState
from pgtrace.schema import Column, Table, polars_schema

_POLL_SECONDS = 0.2
#: lock files that this process holds open
_open_locks: set[IO[str]] = set()


class Writer:
    """The one writer of a lake, between ``Lake.writer()`` and the end of its block."""

    def __init__(self, layout: Layout, ledger: Ledger, tables: Mapping[str, Table]):
        self.ledger = ledger
        self._layout = layout
        self._tables = tables

    def batch(self, source: SourceState) -> Batch:
        """A batch of rows of ``source``, from its offset on. Raises UsageError for a server that cannot be a folder."""
        check_server(source.server)
        return Batch(self._layout, self.ledger, self._tables, source)

    def recover(self) -> None:
        """Finish batches that were recorded and not put in place, and clear what was never recorded."""
        for batch_id, staging in self.ledger.unfinished():
            finish(self._layout, self.ledger, batch_id, staging)
        shutil.rmtree(self._layout.staging, ignore_errors=True)
        _write_sources(self._layout, self.ledger)


class Lake:
    """A lake at ``path`` with these tables; it is made where there is none. Raises LakeError where that fails.

    Opening finishes what a writer left that died, unless another writes: that one did it when it began.
    """

    def __init__(self, path: Path, tables: Mapping[str, Table], views: Mapping[str, str] | None = None):
        self._layout = Layout(path.resolve())
        self._tables = tables
        self._views = views or {}
        self._definitions = catalog.definitions(self._layout, self._tables, self._views)
        with telling(f"{path}: the lake cannot be opened"):
            self._layout.tables.mkdir(parents=True, exist_ok=True)
            if _is_ledger_lost(self._layout):
                raise LakeError(
                    f"{self._layout.ledger}: is gone, and without it every log would be read into the lake once more; "
                    "restore it or ingest into a new lake"
                )
            with telling(str(self._layout.ledger)):
                self.ledger = Ledger(self._layout.ledger)
            self._add_empty_parts()
            self._recover()
            self.refresh_catalog()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._layout.root

    @property
    def catalog_path(self) -> Path:
        """The catalog for other DuckDB clients."""
        return self._layout.catalog

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in memory with all views and macros; times are shown in UTC."""
        return catalog.connect(self._definitions)

    def refresh_catalog(self) -> bool:
        """Write ``pgtrace.duckdb`` where it is missing, or the lake was moved, or a table has new columns."""
        return catalog.refresh(self._layout, self._definitions)

    @contextmanager
    def writer(self, on_wait: Callable[[str], None] | None = None) -> Iterator[Writer]:
        """Be the one writer: waits for another (``on_wait`` is told once), and finishes what one left that died."""
        with _locked(self._layout.lock, on_wait):
            writer = Writer(self._layout, self.ledger, self._tables)
            writer.recover()
            try:
                yield writer
            except BaseException:
                with suppress(LakeError):  # the next writer does it
                    _write_sources(self._layout, self.ledger)
                raise
            _write_sources(self._layout, self.ledger)

    def compact(self) -> tuple[int, int]:
        """Merge small parts; see ``upkeep.compact``."""
        with self.writer():
            return upkeep.compact(self._layout, self.ledger)

    def prune(self, before: date) -> int:
        """Remove old days; see ``upkeep.prune``."""
        with self.writer():
            return upkeep.prune(self._layout, self.ledger, before, self._of_lines)

    def audit(self) -> tuple[pl.DataFrame, list[str]]:
        """Prove that no line was lost; see ``upkeep.audit``."""
        with self.writer():
            return upkeep.audit(self._layout, self.ledger, self.connect(), self._of_lines)

    @property
    def _of_lines(self) -> list[str]:
        """The tables whose rows stand for lines of a source."""
        return [table.name for table in self._tables.values() if "line_count" in table.stored_columns]

    def _recover(self) -> None:
        if not self.ledger.unfinished():
            return
        with self._layout.lock.open("a+") as file, _closed_in_forks(file), suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Writer(self._layout, self.ledger, self._tables).recover()

    def _add_empty_parts(self) -> None:
        for table in self._tables.values():
            _write_frame(self._layout.empty_part(table.name), polars_schema(table.stored_columns).to_frame(), keep=True)
        if not (self._layout.tables / "source" / "source.parquet").exists():
            _write_sources(self._layout, self.ledger)


def _is_ledger_lost(layout: Layout) -> bool:
    """Whether there are parts and no ledger that knows them."""
    if layout.ledger.exists() and layout.ledger.stat().st_size:
        return False
    own = {layout.empty_part(folder.name) for folder in layout.tables.iterdir()}
    return any(path not in own for path in layout.tables.glob("*/*/*/*.parquet"))


def _write_sources(layout: Layout, ledger: Ledger) -> None:
    """Table ``source`` from the ledger."""
    names = {"server": Column("server"), **catalog.SOURCE.columns}
    rows = [
        {
            **{name: getattr(state, name, None) for name in names},
            "path": state.path.encode(errors="backslashreplace").decode(),  # a name on disk need not be UTF-8
            "read_bytes": state.offset + state.tail_bytes,
        }
        for state in ledger.sources()
    ]
    _write_frame(layout.tables / "source" / "source.parquet", pl.DataFrame(rows, polars_schema(names), orient="row"))


def _write_frame(path: Path, frame: pl.DataFrame, keep: bool = False) -> None:
    """Write a small file that appears whole; ``keep`` leaves one that is there and has the same columns."""
    if keep and path.exists():
        with suppress(pl.exceptions.PolarsError):  # a file that was torn is written again
            if pl.read_parquet_schema(path) == frame.schema:
                return
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with telling(f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            frame.write_parquet(partial)
            sync(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def _closed_in_forks(file: IO[str]) -> Iterator[None]:
    """A worker that was forked would hold the lock on behalf of a writer that was killed."""
    _open_locks.add(file)
    try:
        yield
    finally:
        _open_locks.discard(file)


def _close_locks() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in _open_locks:
        os.dup2(nothing, file.fileno())
    os.close(nothing)
    _open_locks.clear()


os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def _locked(path: Path, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the system drops it when the process dies."""
    with telling(f"{path}: cannot be locked"):
        file = path.open("a+")
    with file, _closed_in_forks(file):
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told and on_wait is not None:
                    file.seek(0)
                    on_wait(f"waiting for process {file.read().strip() or '?'}, which is writing to the lake")
                told = True
                time.sleep(_POLL_SECONDS)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
