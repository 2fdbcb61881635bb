"""A lake on disk: open it, read it with DuckDB, write it one batch at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from pgtrace.errors import LakeError
from pgtrace.lake import catalog, upkeep
from pgtrace.lake.batch import Batch, finish
from pgtrace.lake.layout import Layout
from pgtrace.lake.ledger import Ledger, SourceState
from pgtrace.schema import Column, Table, polars_schema

_POLL_SECONDS = 0.2
#: with more sources than this the table ``source`` is brought up to date once at the end, not with every batch
_FEW_SOURCES = 200


class Writer:
    """The one writer of a lake, between ``Lake.writer()`` and the end of its block."""

    def __init__(self, layout: Layout, ledger: Ledger, tables: Mapping[str, Table]):
        self.ledger = ledger
        self._layout = layout
        self._tables = tables

    def batch(self, source: SourceState) -> Batch:
        """A batch of rows of ``source``, from its offset on."""
        return Batch(self._layout, self.ledger, self._tables, source)

    def recover(self) -> None:
        """Finish batches that were recorded and not put in place, and clear what was never recorded."""
        for batch_id, staging in self.ledger.unfinished():
            finish(self._layout, self.ledger, batch_id, staging)
        shutil.rmtree(self._layout.staging, ignore_errors=True)
        _write_sources(self._layout, self.ledger)


class Lake:
    """A lake at ``path`` with these tables; it is made where there is none. Raises LakeError where that fails."""

    def __init__(self, path: Path, tables: Mapping[str, Table], views: Mapping[str, str] | None = None):
        self._layout = Layout(path.resolve())
        self._tables = tables
        self._views = views or {}
        try:
            self._layout.tables.mkdir(parents=True, exist_ok=True)
            self.ledger = Ledger(self._layout.ledger)
            self._add_empty_parts()
        except (OSError, duckdb.Error) as error:
            raise LakeError(f"{path}: the lake cannot be opened: {error}") from None
        self._definitions = catalog.definitions(self._layout, self._tables, self._views)
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
            finally:
                _write_sources(self._layout, self.ledger)

    def compact(self) -> tuple[int, int]:
        """Merge small parts; see ``upkeep.compact``."""
        with self.writer():
            return upkeep.compact(self._layout, self.ledger)

    def prune(self, before: date) -> int:
        """Remove old days; see ``upkeep.prune``."""
        with self.writer():
            return upkeep.prune(self._layout, self.ledger, before)

    def audit(self) -> tuple[pl.DataFrame, list[str]]:
        """Prove that no line was lost; see ``upkeep.audit``."""
        with self.writer():
            return upkeep.audit(self._layout, self.ledger, self.connect())

    def _add_empty_parts(self) -> None:
        for table in self._tables.values():
            _write_frame(self._layout.empty_part(table.name), polars_schema(table.stored_columns).to_frame(), keep=True)
        if not (self._layout.tables / "source" / "source.parquet").exists():
            _write_sources(self._layout, self.ledger)


def _write_sources(layout: Layout, ledger: Ledger) -> None:
    """Table ``source`` from the ledger."""
    names = {"server": Column("server"), **catalog.SOURCE.columns}
    rows = [
        {
            **{name: getattr(state, name, None) for name in names},
            "read_bytes": state.offset + state.tail_bytes,
        }
        for state in ledger.sources()
    ]
    _write_frame(layout.tables / "source" / "source.parquet", pl.DataFrame(rows, polars_schema(names), orient="row"))


def _write_frame(path: Path, frame: pl.DataFrame, keep: bool = False) -> None:
    """Write a small file that appears whole; ``keep`` leaves one that is there and has the same columns."""
    if keep and path.exists() and pl.read_parquet_schema(path) == frame.schema:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    frame.write_parquet(partial)
    partial.replace(path)


@contextmanager
def _locked(path: Path, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the system drops it when the process dies."""
    with path.open("a+") as file:
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
