"""Upkeep of a lake: small parts of a day merged, old days removed, the sums proved."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path

import duckdb
import polars as pl

from pgtrace.errors import LakeError
from pgtrace.lake.batch import TAIL, finish, merge_parts, sync_staged
from pgtrace.lake.failures import first_line, telling
from pgtrace.lake.layout import Layout, part_path
from pgtrace.lake.ledger import Ledger, Part, SourceState
from pgtrace.lake.steps import reached

#: parts below this are small, and merged parts are not made larger
_SMALL_BYTES = 64 * 1024 * 1024


def compact(layout: Layout, ledger: Ledger) -> tuple[int, int]:
    """Merge small parts of the same table, server and day; the rows stay the same.

    Returns how many parts went and how many they became. Readers see a moment's rows twice while old parts go, and one
    that had listed these parts before gets DuckDB's IO error and has to ask again. Raises LakeError for a damaged part.
    """
    merged = made = 0
    for group in _groups(ledger.parts()):
        for part in group:
            _check_whole(layout, part)
        first = group[0]
        name = "compact-" + hashlib.sha256("\n".join(part.path for part in group).encode()).hexdigest()[:16]
        path = part_path(first.table, first.server, first.day, name)
        staging = f"compact-{uuid.uuid4().hex[:8]}"
        size = merge_parts(layout.staging / staging / path, [layout.root / part.path for part in group])
        sync_staged(layout, staging)
        reached("staged")
        rows = sum(part.rows for part in group)
        part = Part(path, first.table, first.server, first.day, None, rows, size)
        batch_id = ledger.record(staging, [part], [part.path for part in group], None)
        reached("recorded")
        finish(layout, ledger, batch_id, staging)
        merged, made = merged + len(group), made + 1
    return merged, made


def _check_whole(layout: Layout, part: Part) -> None:
    """Raises LakeError where rows of a part are missing: merging would hide that from the audit."""
    path = layout.root / part.path
    with telling(f"{path}: cannot be read; restore it or ingest into a new lake"):
        rows = pl.scan_parquet(path, hive_partitioning=False).select(pl.len()).collect().item()
    if rows != part.rows:
        raise LakeError(f"{path}: has {rows} rows, the ledger says {part.rows}; restore it first")


def _groups(parts: list[Part]) -> Iterator[list[Part]]:
    """Small parts that belong together, at least two and not more than make one large part."""

    def key(part: Part) -> tuple[str, str, str]:
        return part.table, part.server, str(part.day)

    small = [part for part in parts if not part.provisional and part.size < _SMALL_BYTES]
    for _, same in groupby(sorted(small, key=lambda part: (*key(part), part.path)), key):
        group: list[Part] = []
        for part in same:
            if group and sum(item.size for item in group) + part.size > _SMALL_BYTES:
                if len(group) > 1:
                    yield group
                group = []
            group.append(part)
        if len(group) > 1:
            yield group


def prune(layout: Layout, ledger: Ledger, before: date, tables: Sequence[str]) -> int:
    """Remove the parts of days before ``before``; returns how many.

    The ledger keeps the number of their lines, so that the sums still meet, and the offsets, so that logs which
    still hold those days are not read again. Raises LakeError for a part that cannot be read.
    """
    parts = ledger.parts()
    recent = {part.path for part in parts if part.day is None or part.day >= before}
    # the last record of a source goes as a whole or not at all: it is read again as a whole
    with_tail = {part.source_id for part in parts if part.provisional == TAIL and part.path in recent}
    old = [
        part
        for part in parts
        if part.path not in recent and not (part.provisional == TAIL and part.source_id in with_tail)
    ]
    if not old:
        return 0
    with telling("old days cannot be counted; run audit"):
        records = _line_counts([layout.root / part.path for part in old if part.table in tables], "sum(line_count)")
        unparsed = _line_counts([layout.root / part.path for part in old if part.table == "unparsed"], "count(*)")
    pruned = [(source, records.get(source, 0), unparsed.get(source, 0)) for source in {*records, *unparsed}]
    ended = {part.source_id for part in old if part.provisional == TAIL}
    states = [_without_way_back(state) for state in ledger.sources() if state.source_id in ended]
    batch_id = ledger.record("prune", [], [part.path for part in old], None, pruned, states)
    reached("recorded")
    finish(layout, ledger, batch_id, "prune")
    return len(old)


def _without_way_back(state: SourceState) -> SourceState:
    """The state of a source whose tail was pruned: read again, its lines would be there and among the pruned ones."""
    return replace(
        state,
        offset=state.offset + state.tail_bytes,
        line_no=state.line_no + state.tail_lines,
        tail_bytes=0,
        tail_lines=0,
        tail_records=0,
        tail_unparsed=0,
        carry=state.carry_after_tail,
    )


def _line_counts(paths: Sequence[Path], count: str) -> dict[str, int]:
    """Lines by source in these files of ``record`` or ``unparsed``."""
    if not paths:
        return {}
    rows = duckdb.execute(
        f"select source_id, cast({count} as bigint) from read_parquet(?, hive_partitioning = false) group by 1",
        [[str(path) for path in paths]],
    ).fetchall()
    return dict(rows)


def audit(
    layout: Layout, ledger: Ledger, connection: duckdb.DuckDBPyConnection, tables: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """One row per source: lines that were read, and where they are; and what is wrong with the parts.

    ``tables`` are those whose rows stand for lines (their line_count).
    ``lines`` were counted in the bytes of the source, the others are in the tables or were pruned from them. Where a
    file cannot be read, which is one of the problems, its lines are in none of them.
    """
    problems = list(_problems(layout, ledger))
    records: dict[str, int] = {}
    for table in tables:
        for source, lines in _lines_in(layout, connection, table, "sum(line_count)", problems).items():
            records[source] = records.get(source, 0) + lines
    unparsed = _lines_in(layout, connection, "unparsed", "count(*)", problems)
    gone = ledger.pruned()
    rows = []
    for state in ledger.sources():
        in_records = records.get(state.source_id, 0) + gone.get(state.source_id, (0, 0))[0]
        not_parsed = unparsed.get(state.source_id, 0) + gone.get(state.source_id, (0, 0))[1]
        lines = state.lines + state.held_back_lines
        meets = lines == in_records + not_parsed + state.held_back_lines
        rows.append((state.server, state.path, lines, in_records, not_parsed, state.held_back_lines, meets))
    columns = ["server", "source", "lines", "in_records", "unparsed", "held_back", "meets"]
    types = [pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64, pl.Int64, pl.Boolean]
    return pl.DataFrame(rows, dict(zip(columns, types, strict=True)), orient="row"), problems


def _lines_in(
    layout: Layout, connection: duckdb.DuckDBPyConnection, table: str, count: str, problems: list[str]
) -> dict[str, int]:
    """Lines by source as readers see them; file by file where one of them keeps readers from seeing any."""
    try:
        return dict(connection.sql(f"select source_id, cast({count} as bigint) from {table} group by 1").fetchall())
    except duckdb.Error:
        lines: dict[str, int] = {}
        for path in sorted((layout.tables / table).glob("*/*/*.parquet")):
            try:
                found = _line_counts([path], count)
            except duckdb.Error as error:
                if not any(problem.startswith(f"{path}: ") for problem in problems):
                    problems.append(_unreadable(path, error))
                continue
            for source, number in found.items():
                lines[source] = lines.get(source, 0) + number
        return lines


def _unreadable(path: Path, error: BaseException) -> str:
    return f"{path}: cannot be read ({first_line(error)}); restore it or ingest into a new lake"


def _problems(layout: Layout, ledger: Ledger) -> Iterator[str]:
    known = set()
    for part in ledger.parts():
        path = layout.root / part.path
        known.add(path)
        if not path.exists():
            yield f"{path}: this part of {part.rows} rows is gone; restore it or ingest into a new lake"
            continue
        try:
            found = pl.scan_parquet(path, hive_partitioning=False).select(pl.len()).collect().item()
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            yield _unreadable(path, error)
            continue
        if found != part.rows:
            yield f"{path}: has {found} rows, the ledger says {part.rows}"
    own = {layout.tables / "source" / "source.parquet"}
    own |= {layout.empty_part(folder.name) for folder in layout.tables.iterdir()}
    for path in sorted(layout.tables.rglob("*.parquet")):
        if path not in known and path not in own:
            yield f"{path}: not known to the ledger, and its rows are counted; move it out of the lake"
