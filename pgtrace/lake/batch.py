"""A batch: rows of one stretch of a source, staged and then put in place all at once."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl

from pgtrace.lake.failures import telling
from pgtrace.lake.layout import Layout, part_path
from pgtrace.lake.ledger import Ledger, Part, SourceState
from pgtrace.lake.steps import reached
from pgtrace.schema import Table

#: the largest table's rows are written when so much has come together
_BUFFER_BYTES = 32 * 1024 * 1024
#: parts that may wait to be written, the one being written among them: their rows are in memory
_WAITING = 2
_ROWS_PER_GROUP = 200_000
#: kinds of provisional parts: the last record of a source that may grow, and rows that later lines may take back
TAIL, OPEN = "tail", "open"


class Batch:
    """Rows of one source on their way into the lake; nothing of it is seen before ``commit``.

    Part names follow from the source and the offset at which the batch begins, so writing a batch again writes the
    same files. Provisional parts (TAIL, OPEN) are seen like any other and go when the source's next batch comes.
    """

    def __init__(self, layout: Layout, ledger: Ledger, tables: Mapping[str, Table], source: SourceState):
        self._layout = layout
        self._ledger = ledger
        self._tables = tables
        self._source = source
        self._staging = f"{source.source_id}-{uuid.uuid4().hex[:8]}"
        self._buffers: dict[tuple[str, str], list[pl.DataFrame]] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._counts: dict[tuple[str, str, date | None], int] = {}
        self._parts: list[Part] = []
        self._gone: list[str] = []
        #: parts are compressed and written beside the reading, one behind the other
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pgtrace-write")
        self._written: deque[Future[Part]] = deque()

    def write(self, table: str, frame: pl.DataFrame, provisional: str = "") -> None:
        """Add rows with the table's stored columns."""
        key = (table, provisional)
        self._buffers.setdefault(key, []).append(frame)
        self._sizes[key] = self._sizes.get(key, 0) + int(frame.estimated_size())
        if sum(self._sizes.values()) >= _BUFFER_BYTES:
            self._flush(max(self._sizes, key=lambda largest: self._sizes[largest]))

    def take_back(self, source_id: str) -> None:
        """Remove the OPEN rows of another source: what they waited for is in this batch."""
        self._gone += self._ledger.provisional(source_id, [OPEN])

    def commit(self, state: SourceState) -> None:
        """Make the rows durable, record them and ``state`` in one transaction, and put them in place."""
        for key in list(self._buffers):
            self._flush(key)
        self._wait(0)
        self._thread.shutdown()
        sync_staged(self._layout, self._staging)
        reached("staged")
        gone = [*self._gone, *self._ledger.provisional(state.source_id, [TAIL, OPEN])]
        batch_id = self._ledger.record(self._staging, self._parts, gone, state)
        reached("recorded")
        finish(self._layout, self._ledger, batch_id, self._staging)

    @property
    def _root(self) -> Path:
        return self._layout.staging / self._staging

    def _flush(self, key: tuple[str, str]) -> None:
        table, provisional = key
        frames = self._buffers.pop(key)
        self._sizes[key] = 0
        frame = pl.concat(frames, rechunk=False) if len(frames) > 1 else frames[0]
        for day, rows in _by_day(frame, self._tables[table].time):
            self._stage(table, day, provisional, rows)

    def _stage(self, table: str, day: date | None, provisional: str, rows: pl.DataFrame) -> None:
        number = self._counts.get((table, provisional, day), 0)
        self._counts[table, provisional, day] = number + 1
        name = f"{self._source.source_id}-{provisional or f'{self._source.offset:012d}'}"
        path = part_path(table, self._source.server, day, f"{name}-{number}" if number else name)

        def write() -> Part:
            size = write_part(self._root / path, rows)
            reached("wrote part")
            return Part(path, table, self._source.server, day, self._source.source_id, rows.height, size, provisional)

        self._wait(_WAITING - 1)
        self._written.append(self._thread.submit(write))

    def _wait(self, left: int) -> None:
        """Wait until no more than ``left`` parts are being written. Raises what writing them raised."""
        while len(self._written) > left:
            self._parts.append(self._written.popleft().result())


def write_part(path: Path, rows: pl.DataFrame) -> int:
    """Write a Parquet file and wait until it is on disk; returns its size in bytes. Raises LakeError."""
    with telling(f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path, compression="zstd", compression_level=1, row_group_size=_ROWS_PER_GROUP)
        sync(path)
        return path.stat().st_size


def merge_parts(path: Path, parts: Sequence[Path]) -> int:
    """Write the rows of several Parquet files into one, a stretch at a time; returns its size. Raises LakeError."""
    with telling(f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = pl.concat([pl.scan_parquet(part, hive_partitioning=False) for part in parts], how="diagonal")
        rows.sink_parquet(path, compression="zstd", compression_level=1, row_group_size=_ROWS_PER_GROUP)
        sync(path)
        return path.stat().st_size


def sync_staged(layout: Layout, staging: str) -> None:
    """Wait until the names of staged parts are on disk, from the lake's own folder down. Before a batch is recorded.

    A recorded batch whose parts a power cut took away would be lost, and with it, in compaction, the parts it replaces.
    """
    folder = layout.staging / staging
    with telling(f"{folder}: cannot be written"):
        if folder.exists():
            for inner in (layout.root, layout.staging, *(Path(found) for found, _, _ in os.walk(folder))):
                sync(inner)


def finish(layout: Layout, ledger: Ledger, batch_id: int, staging: str) -> None:
    """Put a recorded batch in place: safe to do again, from wherever it was stopped.

    Rename by rename: between the first and the last a reader may see a part of the batch, or, where provisional rows
    are replaced, see them beside the rows that replace them. Raises LakeError; whoever writes next goes on.
    """
    into, out = ledger.batch_paths(batch_id)
    with telling(f"{layout.root}: a batch cannot be put in place"):
        _move(layout, layout.staging / staging, into, out)
    reached("in place")
    ledger.finished(batch_id)
    shutil.rmtree(layout.staging / staging, ignore_errors=True)


def _by_day(frame: pl.DataFrame, time: str) -> Sequence[tuple[date | None, pl.DataFrame]]:
    days = frame[time].dt.date()
    if frame.height and days.null_count() == 0 and days.min() == days.max():
        return [(days[0], frame)]
    parts = frame.with_columns(days.alias("date")).partition_by(
        "date", maintain_order=True, as_dict=True, include_key=False
    )
    return [(day, rows) for (day,), rows in parts.items()]


def _move(layout: Layout, staging: Path, into: Sequence[str], out: Sequence[str]) -> None:
    folders: set[Path] = set()
    is_whole = True
    for path in into:
        staged, target = staging / path, layout.root / path
        if staged.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            reached("moved part")
        if target.exists():
            folders.update(target.parents[:4])  # up to tables/: folders may be new on the way
        else:
            is_whole = False
    # where staging was emptied by hand, what the lost part was to replace is all that is left of its rows
    for path in out if is_whole else ():
        old = layout.root / path
        old.unlink(missing_ok=True)
        if old.parent.exists():
            folders.add(old.parent)
    for folder in folders:
        sync(folder)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
