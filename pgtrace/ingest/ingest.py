"""Paths into the lake: finds the sources, tells what is new in them, and reads that in the order of their times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pgtrace.errors import PgtraceError, UsageError
from pgtrace.ingest.carry import from_bytes
from pgtrace.ingest.detect import HEAD_BYTES, detect, first_time, position
from pgtrace.ingest.identity import new_state, recognised, seen
from pgtrace.ingest.pgwaldump import Texts
from pgtrace.ingest.reporter import Reporter, Silent
from pgtrace.ingest.results import SourceResult
from pgtrace.ingest.run import OpenEnds, SourceReader, Workers, is_live, open_ends_of
from pgtrace.ingest.same_events import WRITTEN_BY_SERVER, carries_lines, same_events
from pgtrace.ingest.sources import Source, open_sources
from pgtrace.ingest.unknown import UNKNOWN
from pgtrace.ingest.walsegments import NothingToReadError, WalSegment, is_partial
from pgtrace.ingest.walwork import Segments, has_news, may_have_news, reading_of, without_others
from pgtrace.lake import Lake, SourceState, Writer
from pgtrace.logformat import Reading


@dataclass(slots=True)
class _Work:
    """A source that has something new, how to read it, and what is known of it."""

    source: Source
    state: SourceState
    reading: Reading
    first_at: datetime | None
    is_known: bool
    position: int = 0


def ingest(
    lake: Lake,
    paths: Sequence[str],
    *,
    server: str,
    log_format: str = "auto",
    prefix: str | None = None,
    timezone: str | None = None,
    redact: bool = False,
    pg_waldump: Sequence[str] = (),
    jobs: int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    reporter: Reporter | None = None,
) -> list[SourceResult]:
    """Read what is new in ``paths`` into ``lake``; one result per source, in the order found.

    Raises UsageError for a path that does not exist or a server without a name; what is wrong with one source is in its
    result.
    """
    if not server.strip():
        raise UsageError("--server: the name is empty")
    reporter = reporter or Silent()
    sources = without_others(open_sources(paths, leave_out=[lake.path]))
    with (
        lake.writer(on_wait=reporter.message) as writer,
        _workers(jobs, dask, executor, reporter) as workers,
        closing(Texts(sources, pg_waldump, workers.at_once)) as wal,
    ):
        results: dict[str, SourceResult] = {}
        work = list(_find_work(writer, sources, results, server, (log_format, prefix, timezone), wal))
        work = _without_doubles(work, sources, results)
        for item in work:
            item.reading = replace(item.reading, redact=redact)
        reporter.start(sum(item.source.size_bytes or 0 for item in work), len(work))
        _read(writer, workers, work, results, wal)
    return [results[source.label] for source in sources]


def _find_work(
    writer: Writer,
    sources: Sequence[Source],
    results: dict[str, SourceResult],
    server: str,
    asked: tuple[str, str | None, str | None],
    wal: Texts,
) -> Iterator[_Work]:
    known = writer.ledger.sources(server)
    for source in sources:
        result = results[source.label] = SourceResult(source.label, server)
        try:
            if _is_as_before(source, known, result):
                continue
            head = source.head(HEAD_BYTES)
            if not head:
                continue
            if (segment := wal.files.segment(source, head)) is not None:
                yield from _of_segment(segment, known, writer, result, asked[0], wal)
                continue
            state = recognised(head, known)
            if state is not None:
                if _has_news(source, state, writer, result):
                    reading = _reading(state, head, source.label)
                    at = position(head, reading)
                    yield _Work(source, seen(state, source), reading, None if at else state.first_at, True, at)
                continue
            reading = detect(head, source.label, *asked)
            result.log_format = reading.log_format
            state = new_state(server, source, head, reading)
            state = replace(state, is_prefix_given=asked[1] is not None)
            yield _Work(source, state, reading, first_time(head, reading), False, position(head, reading))
        except UsageError:
            raise
        except NothingToReadError as nothing:
            result.message = str(nothing)
        except PgtraceError as error:
            result.status, result.message = "failed", str(error)


def _of_segment(
    segment: WalSegment,
    known: Sequence[SourceState],
    writer: Writer,
    result: SourceResult,
    log_format: str,
    wal: Texts,
) -> Iterator[_Work]:
    """The work that a WAL segment is, whose copies are all one source."""
    reading = reading_of(segment, log_format)
    result.log_format = reading.log_format
    state = recognised(segment.identity, known)
    if state is not None and not has_news(segment, state, wal.files):
        writer.ledger.save(seen(state, segment))
        return
    wal.check(segment)
    is_known = state is not None
    state = seen(state, segment) if state else new_state(result.server, segment, segment.identity, reading)
    yield _Work(segment, state, reading, None, is_known, segment.start)


def _is_as_before(source: Source, known: Sequence[SourceState], result: SourceResult) -> bool:
    """Whether there is nothing to look at in a file that is as it was."""
    same = next((state for state in known if _is_unchanged(source, state)), None)
    if same is None:
        return False
    result.log_format = same.log_format
    return not may_have_news(same)


def _is_unchanged(source: Source, state: SourceState) -> bool:
    """Whether the file is as it was when it was last read, without opening it."""
    if source.inode is None or (source.inode, source.device) != (state.inode, state.device):
        return False
    if (source.size_bytes, source.mtime_ns, source.label) != (state.size_bytes, state.mtime_ns, state.path):
        return False
    return not state.held_back_lines or is_live(source)


def _has_news(source: Source, state: SourceState, writer: Writer, result: SourceResult) -> bool:
    """Whether a source that is known by its text holds more than was read; a new name of it is noted."""
    result.log_format = state.log_format
    if source.is_compressed or source.is_pipe or source.size_bytes is None:
        return True  # how long the text is shows only in reading it
    read = state.offset + state.tail_bytes + state.held_back_bytes
    if source.size_bytes < read:
        result.message = f"{source.label}: is a shorter copy of what was read as {state.path}; nothing in it is new"
        return False
    if source.size_bytes > read or (state.held_back_lines and not is_live(source)):
        return True
    writer.ledger.save(seen(state, source))
    return False


def _reading(state: SourceState, head: bytes, label: str) -> Reading:
    """A source is read on as it was read before; but a log of few lines may show its whole prefix only now."""
    before = Reading(state.log_format, state.prefix, state.timezone, state.line_end.encode(), state.columns)
    if state.prefix is None or state.is_prefix_given:
        return before
    now = detect(head, label, state.log_format, None, state.timezone)
    return replace(before, prefix=now.prefix)


def _without_doubles(work: Sequence[_Work], sources: Sequence[Source], results: dict[str, SourceResult]) -> list[_Work]:
    """Leave out files that hold the events of another file in another format, and copies of another file."""
    formats = [(source, results[source.label].log_format) for source in sources]
    _, left_out = same_events([(source, log_format) for source, log_format in formats if log_format is not None])
    for source, reason in left_out:
        results[source.label].status, results[source.label].message = "left out", f"{source.label}: {reason}"
    dropped = {source.label for source, _ in left_out}
    kept: dict[str, _Work] = {}
    for item in sorted(work, key=lambda item: (is_partial(item.source), -(item.source.size_bytes or 0))):
        if item.source.label in dropped:
            continue
        if item.state.source_id in kept:
            result = results[item.source.label]
            result.message = (
                f"{item.source.label}: begins like {kept[item.state.source_id].source.label}, which is read instead"
            )
            result.status = "left out"
            continue
        kept[item.state.source_id] = item
    return [item for item in work if item in kept.values()]


def _read(
    writer: Writer, workers: Workers, work: Sequence[_Work], results: dict[str, SourceResult], wal: Texts
) -> None:
    """Read the sources in the order of their times, so that each finds what the one before it left open."""
    ends: dict[str, OpenEnds] = {}
    known_queries: set[str] = set()
    if not work:
        return
    of_server = writer.ledger.sources(work[0].state.server)
    latest = {state.log_format: state for state in sorted(of_server, key=lambda state: str(state.last_at))}
    order = sorted(
        work,
        key=lambda item: (
            item.first_at is not None,
            item.first_at or datetime.max.replace(tzinfo=UTC),
            item.position,
        ),
    )
    in_order = [item.source for item in order if isinstance(item.source, WalSegment)]
    segments = Segments(writer.ledger, work[0].state.server, in_order, of_server)
    wal.plan(in_order)
    for item in order:
        if isinstance(item.source, WalSegment):
            results[item.source.label] = _read_segment(writer, workers, item, item.source, segments)
            continue
        log_format = item.reading.log_format
        if item.is_known:
            own = open_ends_of(item.state)
        else:
            own = ends.get(log_format) or _left_by(latest.get(log_format), item)
        result = SourceReader(writer, workers, item.source, item.state, item.reading).read(own, known_queries)
        ends[log_format] = own
        result.message = result.message or _advice(item, work)
        results[item.source.label] = result


def _advice(item: _Work, work: Sequence[_Work]) -> str | None:
    """What a person should know of a source that was read."""
    label = item.source.label
    if item.reading.log_format == UNKNOWN.name:
        return f"{label}: no log format knows this file; its lines are in table unparsed"
    if item.reading.language is not None:
        return (
            f"{label}: its messages are in {item.reading.language}, and the typed tables read English: "
            "set lc_messages = 'C' on the server (records and their levels are kept whole)"
        )
    if carries_lines(item.reading.log_format) and item.first_at is not None:
        for other in work:
            near = other.first_at is not None and abs(other.first_at - item.first_at) < timedelta(days=1)
            if near and other.reading.log_format in WRITTEN_BY_SERVER:
                return (
                    f"{label}: if it is of the same server as {other.source.label}, its events are now there twice: "
                    "read one of them"
                )
    return None


def _read_segment(
    writer: Writer, workers: Workers, item: _Work, segment: WalSegment, segments: Segments
) -> SourceResult:
    ends = segments.ends(segment, item.state, item.is_known)
    if ends is None:
        message = f"{segment.label}: the server was still writing the segment before it; ingest again to read it"
        return SourceResult(segment.label, item.state.server, log_format=item.reading.log_format, message=message)
    result = SourceReader(writer, workers, segment, item.state, item.reading).read(ends, set())
    segments.note(segment, item.state, result)
    return result


def _left_by(state: SourceState | None, item: _Work) -> OpenEnds:
    """What the server's source before this one left open."""
    if state is None or state.last_at is None or item.first_at is None or item.first_at < state.last_at:
        return OpenEnds()
    return OpenEnds(from_bytes(state.carry_after_tail), state.source_id)


@contextmanager
def _workers(jobs: int | None, dask: str | None, executor: Executor | None, reporter: Reporter) -> Iterator[Workers]:
    """Threads here, an executor that was given, or a Dask cluster."""
    at_once = jobs or os.cpu_count() or 1
    if executor is not None:
        yield Workers(executor, at_once, reporter)
    elif dask is not None:
        with _dask(dask) as cluster:
            yield Workers(cluster, jobs or 8, reporter)
    else:
        with ThreadPoolExecutor(at_once, thread_name_prefix="pgtrace") as threads:
            yield Workers(threads, at_once, reporter)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the package distributed: pip install 'pgtrace[dask]'") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers there ({error})") from None
    with client:
        yield client.get_executor()
