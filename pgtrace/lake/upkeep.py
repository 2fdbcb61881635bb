"""Upkeep of a lake: small parts of a day merged, old days removed, the sums proved."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from datetime import date
from itertools import groupby

import duckdb
import polars as pl

from pgtrace.lake.batch import finish, write_part
from pgtrace.lake.layout import Layout, part_path
from pgtrace.lake.ledger import Ledger, Part
from pgtrace.lake.steps import reached

#: parts below this are small, and merged parts are not made larger
_SMALL_BYTES = 64 * 1024 * 1024


def compact(layout: Layout, ledger: Ledger) -> tuple[int, int]:
    """Merge small parts of the same table, server and day; the rows stay the same.

    Returns how many parts went and how many they became. Readers see a moment's rows twice while old parts go.
    """
    merged = made = 0
    for group in _groups(ledger.parts()):
        frames = [pl.read_parquet(layout.root / part.path, hive_partitioning=False) for part in group]
        rows = pl.concat(frames, how="diagonal")
        first = group[0]
        name = "compact-" + hashlib.sha256("\n".join(part.path for part in group).encode()).hexdigest()[:16]
        path = part_path(first.table, first.server, first.day, name)
        staging = f"compact-{uuid.uuid4().hex[:8]}"
        size = write_part(layout.staging / staging / path, rows)
        reached("staged")
        part = Part(path, first.table, first.server, first.day, None, rows.height, size)
        batch_id = ledger.record(staging, [part], [part.path for part in group], None)
        reached("recorded")
        finish(layout, ledger, batch_id, staging)
        merged, made = merged + len(group), made + 1
    return merged, made


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


def prune(layout: Layout, ledger: Ledger, before: date) -> int:
    """Remove the parts of days before ``before``; returns how many.

    The ledger keeps the number of their lines, so that the sums still meet, and the offsets, so that logs which
    still hold those days are not read again.
    """
    old = [part for part in ledger.parts() if part.day is not None and part.day < before]
    if not old:
        return 0
    counts = _line_counts([str(layout.root / part.path) for part in old if part.table == "record"], "sum(line_count)")
    unparsed = _line_counts([str(layout.root / part.path) for part in old if part.table == "unparsed"], "count(*)")
    pruned = [(source, counts.get(source, 0), unparsed.get(source, 0)) for source in {*counts, *unparsed}]
    batch_id = ledger.record("prune", [], [part.path for part in old], None, pruned)
    reached("recorded")
    finish(layout, ledger, batch_id, "prune")
    return len(old)


def _line_counts(paths: list[str], count: str) -> dict[str, int]:
    if not paths:
        return {}
    rows = duckdb.execute(
        f"select source_id, cast({count} as bigint) from read_parquet(?, hive_partitioning = false) group by 1",  # noqa: S608
        [paths],
    ).fetchall()
    return dict(rows)


def audit(layout: Layout, ledger: Ledger, connection: duckdb.DuckDBPyConnection) -> tuple[pl.DataFrame, list[str]]:
    """One row per source: lines that were read, and where they are; and what is wrong with the parts.

    ``lines`` were counted in the bytes of the source, the others are in the tables or were pruned from them.
    """
    records = dict(connection.sql("select source_id, cast(sum(line_count) as bigint) from record group by 1").fetchall())
    unparsed = dict(connection.sql("select source_id, count(*) from unparsed group by 1").fetchall())
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
    return pl.DataFrame(rows, dict(zip(columns, types, strict=True)), orient="row"), list(_problems(layout, ledger))


def _problems(layout: Layout, ledger: Ledger) -> Iterator[str]:
    known = set()
    for part in ledger.parts():
        path = layout.root / part.path
        known.add(path)
        if not path.exists():
            yield f"{path}: the ledger knows this part of {part.rows} rows, and it is gone; restore it or ingest into a new lake"
            continue
        try:
            found = pl.scan_parquet(path, hive_partitioning=False).select(pl.len()).collect().item()
        except pl.exceptions.PolarsError as error:
            yield f"{path}: cannot be read ({str(error).splitlines()[0]}); restore it or ingest into a new lake"
            continue
        if found != part.rows:
            yield f"{path}: has {found} rows, the ledger says {part.rows}"
    own = {layout.tables / "source" / "source.parquet"}
    for path in layout.tables.rglob("*.parquet"):
        if path not in known and path not in own and path.name != "empty.parquet":
            yield f"{path}: not known to the ledger, and its rows are counted; move it out of the lake"
