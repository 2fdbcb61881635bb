"""What is new in one source into the lake: the pipeline from bytes to parts, exactly once.

Chunks are read by an executor, as many at a time as it has workers, and come back in order; joining and writing happen
here. Memory is the chunks in flight times a constant, whatever the size of the log.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pgtrace.errors import LakeError, PgtraceError
from pgtrace.ingest.carry import Waiting, from_bytes, join_rows, to_bytes
from pgtrace.ingest.chunks import Chunk, Stream, chunks
from pgtrace.ingest.reader import Rows, format_named, read_chunk
from pgtrace.ingest.reporter import Reporter
from pgtrace.ingest.results import SourceResult
from pgtrace.ingest.sources import Source
from pgtrace.ingest.walsegments import STILL_WRITTEN
from pgtrace.lake import OPEN, TAIL, Batch, SourceState, Writer
from pgtrace.logformat import Reading

#: bytes of a log that become visible at once; what a killed ingest has to read again
BATCH_BYTES = 256 * 1024 * 1024
#: a file that was written to within this time may end in the middle of a record
_LIVE_SECONDS = 60.0


@dataclass(slots=True)
class OpenEnds:
    """What the sources of one server and format leave open for each other, in the order of their times."""

    waiting: Waiting = field(default_factory=dict)
    #: the source whose provisional rows stand for what waits
    source_id: str | None = None
    #: executions among those rows, and the result that counts them
    statements: int = 0
    counted_in: SourceResult | None = None

    def count(self, statements: int, result: SourceResult | None) -> None:
        """Count ``statements`` provisional executions in ``result``, and those before no more."""
        if self.counted_in is not None:
            self.counted_in.statements -= self.statements
        if result is not None:
            result.statements += statements
        self.statements, self.counted_in = statements, result


@dataclass(slots=True)
class Workers:
    """Who reads the chunks, how many at a time, and who is told."""

    executor: Executor
    at_once: int
    reporter: Reporter


class SourceReader:
    """Reads one source from where its state says it ended."""

    def __init__(self, writer: Writer, workers: Workers, source: Source, state: SourceState, reading: Reading):
        self._writer = writer
        self._workers = workers
        self._source = source
        self._reading = reading
        self._may_grow = source.path is not None and not (
            source.is_compressed or source.is_pipe or source.member_offset is not None
        )
        self._state = replace(_without_tail(state), prefix=reading.prefix)
        self._committed = state
        self._open_rows: Waiting = {}
        self._batch: Batch | None = None
        self._batch_bytes = 0
        self.result = SourceResult(
            source.label,
            state.server,
            "read",
            reading.log_format,
            lines=-state.tail_lines,  # the tail was counted when it was read first
            records=-state.tail_records,
            unparsed=-state.tail_unparsed,
        )

    def read(self, ends: OpenEnds, known_queries: set[str]) -> SourceResult:
        """Read and commit what is new; ``ends`` and ``known_queries`` are brought up to date.

        What was read before an error is committed, and the result tells of the error.
        """
        begun = time.monotonic()
        try:
            with self._source.open() as stream:
                stream.skip(self._state.offset)
                for chunk, rows in self._in_order(stream):
                    self._take(chunk, rows, ends, known_queries)
                self._state = replace(self._state, wal_end=stream.ending)
        except LakeError:
            raise  # of the chunk at hand some rows may be staged and others not: it must not be committed
        except PgtraceError as error:
            self.result.status, self.result.message = "failed", str(error)
        self._commit(ends, is_whole=self.result.status != "failed")
        self.result.seconds = time.monotonic() - begun
        return self.result

    def _in_order(self, stream: Stream) -> Iterator[tuple[Chunk, Rows | None]]:
        """Chunks with their rows, in the order of the source; no rows for a last record that is held back."""
        log_format = format_named(self._reading.log_format)
        ahead: deque[tuple[Chunk, Future[Rows] | None]] = deque()
        failure: PgtraceError | None = None
        cut = chunks(stream, log_format, self._reading, self._state.offset, self._state.line_no)
        while True:
            try:
                chunk = next(cut, None)
            except PgtraceError as error:
                failure = error  # a stream that breaks off: what was read before it is not lost
                break
            if chunk is None:
                break
            if chunk.is_last_record and self._is_unfinished(chunk):
                ahead.append((chunk, None))
                continue
            future = self._workers.executor.submit(read_chunk, chunk, self._reading, self._state.source_id)
            ahead.append((replace(chunk, data=b""), future))
            if len(ahead) >= self._workers.at_once:
                yield _finished(*ahead.popleft())  # where this raises, no chunk behind it may be taken
        while ahead:
            yield _finished(*ahead.popleft())
        if failure is not None:
            raise failure

    def _is_unfinished(self, chunk: Chunk) -> bool:
        """A file's last record without a line end, written moments ago, is not whole yet."""
        if chunk.data.endswith(b"\n") or not self._may_grow:
            return False
        return is_live(self._source)

    def _take(self, chunk: Chunk, rows: Rows | None, ends: OpenEnds, known_queries: set[str]) -> None:
        self._begin(ends)
        if rows is None:
            self._state = replace(self._state, held_back_lines=chunk.lines, held_back_bytes=len(chunk.data))
            self.result.held_back_lines = chunk.lines
            return
        assert self._batch is not None
        is_tail = chunk.is_last_record and self._may_grow
        if is_tail:
            self._state = replace(self._state, carry=to_bytes(ends.waiting))
        records = rows.records  # before joining: some may wait for those of the next chunk
        ends.waiting, self._open_rows = join_rows(rows, ends.waiting)
        _keep_new_queries(rows, known_queries)
        for table, frame in rows.tables.items():
            if frame.height:
                self._batch.write(table, frame, TAIL if is_tail else "")
        self._count(rows, records, is_tail)
        if self._batch_bytes >= BATCH_BYTES and not chunk.is_last_record:
            self._commit(ends, is_whole=False)

    def _begin(self, ends: OpenEnds) -> None:
        if self._batch is not None:
            return
        self._batch = self._writer.batch(self._state)
        self._batch_bytes = 0
        self._open_rows = {}
        if ends.source_id not in (None, self._state.source_id):
            self._batch.take_back(ends.source_id)
            ends.count(0, None)
        ends.source_id = self._state.source_id

    def _count(self, rows: Rows, records: int, is_tail: bool) -> None:
        state = self._state
        statements = rows.tables.get("statement")
        self.result.lines += rows.lines
        self.result.records += records
        self.result.unparsed += rows.unparsed
        self.result.bytes_read += rows.chunk_bytes
        self.result.statements += 0 if statements is None else _executions(statements)
        self._batch_bytes += rows.chunk_bytes
        times = [time for time in (state.first_at, state.last_at, rows.first_at, rows.last_at) if time is not None]
        tail = {
            "tail_bytes": rows.chunk_bytes,
            "tail_lines": rows.lines,
            "tail_records": records,
            "tail_unparsed": rows.unparsed,
        }
        read = {"offset": state.offset + rows.chunk_bytes, "line_no": state.line_no + rows.lines}
        counted: dict[str, Any] = tail if is_tail else read
        self._state = replace(
            state,
            lines=state.lines + rows.lines,
            records=state.records + records,
            unparsed=state.unparsed + rows.unparsed,
            first_at=min(times, default=None),
            last_at=max(times, default=None),
            **counted,
        )
        self._workers.reporter.advance(self._source.label, rows.chunk_bytes)

    def _commit(self, ends: OpenEnds, is_whole: bool) -> None:
        """Commit what came together, also when that is only the news that nothing is new.

        ``is_whole`` says that the source was read to its end. Only then is its time of change noted, by which the next
        ingest knows a file that it need not open: after a kill the rest of the file would pass for read.
        """
        mtime_ns = self._source.mtime_ns if is_whole and self._state.wal_end != STILL_WRITTEN else None
        if self._batch is None:
            self._commit_nothing(mtime_ns)
            return
        for table, frame in self._open_rows.items():
            self._batch.write(table, frame, OPEN)
        statements = self._open_rows.get("statement")
        ends.count(0 if statements is None else _executions(statements), self.result)
        carry = to_bytes(ends.waiting)
        state = self._state if self._state.tail_lines else replace(self._state, carry=carry)
        self._state = replace(
            state,
            carry_after_tail=carry,
            ingested_at=datetime.now(UTC),
            mtime_ns=mtime_ns,
        )
        self._batch.commit(self._state)
        self._committed = self._state
        self._batch = None

    def _commit_nothing(self, mtime_ns: int | None) -> None:
        """Note that nothing came since the last commit: the rows of the tail, and of what waits, stay as they are."""
        self._committed = replace(
            self._committed, ingested_at=datetime.now(UTC), mtime_ns=mtime_ns, wal_end=self._state.wal_end
        )
        self._writer.ledger.save(self._committed)
        if not self.result.bytes_read:
            self.result.lines = self.result.records = self.result.unparsed = 0


def _executions(statements: pl.DataFrame) -> int:
    """Rows that are executions, and no plans of one that has a row already."""
    return statements["execution_line_no"].null_count()


def is_live(source: Source) -> bool:
    """Whether the file was written to a moment ago."""
    return time.time() - (source.mtime_ns or 0) / 1e9 < _LIVE_SECONDS


def _without_tail(state: SourceState) -> SourceState:
    """The state at its offset: the tail behind it is read again."""
    return replace(
        state,
        lines=state.lines - state.tail_lines,
        records=state.records - state.tail_records,
        unparsed=state.unparsed - state.tail_unparsed,
        tail_bytes=0,
        tail_lines=0,
        tail_records=0,
        tail_unparsed=0,
        held_back_bytes=0,
        held_back_lines=0,
    )


def _finished(chunk: Chunk, future: Future[Rows] | None) -> tuple[Chunk, Rows | None]:
    return chunk, None if future is None else future.result()


def _keep_new_queries(rows: Rows, known: set[str]) -> None:
    """A fingerprint's row is written once in a run; the view takes one of those that several runs wrote."""
    queries = rows.tables.get("query")
    if queries is None:
        return
    new = queries.filter(~pl.col("fingerprint").is_in(list(known)))
    known.update(new["fingerprint"])
    rows.tables["query"] = new


def open_ends_of(state: SourceState) -> OpenEnds:
    """What a source that grew, or that another one follows, had left open."""
    return OpenEnds(from_bytes(state.carry), state.source_id)
