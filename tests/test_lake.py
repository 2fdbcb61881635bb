"""The lake keeps what it is given: every row typed, in its server and day, seen by any DuckDB client."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pgtrace import registry
from pgtrace.lake import OPEN, TAIL, Batch, Lake, SourceState, Writer
from pgtrace.schema import RECORD, UNPARSED, Column, Table, polars_schema

TABLES = {"record": RECORD, "unparsed": UNPARSED}
#: a log of twelve lines over three days: line 6 has no time, line 8 belongs to no record
LINES = range(1, 13)
WITHOUT_TIME, NOT_PARSED = 6, 8
BYTES_PER_LINE = 10


def source(server: str = "pg", source_id: str = "5a1f") -> SourceState:
    return SourceState(source_id, server, "/var/log/postgresql.log", 10, "5a1f", "stderr")


def rows(table: Table, source_id: str, lines: list[int]) -> pl.DataFrame:
    """Rows of ``record`` or ``unparsed`` for these lines; line 5 n begins a new day."""
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)
    times = [None if line == WITHOUT_TIME else first + timedelta(days=line // 5, seconds=line) for line in lines]
    texts = [f"line {line}" for line in lines]
    known: dict[str, list[Any]] = {
        "source_id": [source_id] * len(lines),
        "line_no": lines,
        "line_count": [1] * len(lines),
        table.time: times,
        "message": texts,
        "text": texts,
    }
    nothing = [None] * len(lines)
    schema = polars_schema(table.stored_columns)
    return pl.DataFrame({name: pl.Series(name, known.get(name, nothing), dtype) for name, dtype in schema.items()})


def put(batch: Batch, source_id: str, lines: list[int], provisional: str = "") -> None:
    parsed = [line for line in lines if line != NOT_PARSED]
    other = [line for line in lines if line == NOT_PARSED]
    for table, chosen in ((RECORD, parsed), (UNPARSED, other)):
        if chosen:
            batch.write(table.name, rows(table, source_id, chosen), provisional)


def read_on(writer: Writer, state: SourceState, count: int, tail: int = 0) -> SourceState:
    """Read the next ``count`` lines for good and ``tail`` more that are read again next time."""
    state = replace(state, lines=state.lines - state.tail_lines, tail_lines=0, tail_bytes=0)
    batch = writer.batch(state)
    put(batch, state.source_id, list(range(state.line_no, state.line_no + count)))
    put(batch, state.source_id, list(range(state.line_no + count, state.line_no + count + tail)), TAIL)
    state = replace(
        state,
        offset=state.offset + count * BYTES_PER_LINE,
        line_no=state.line_no + count,
        lines=state.lines + count + tail,
        tail_lines=tail,
        tail_bytes=tail * BYTES_PER_LINE,
    )
    batch.commit(state)
    return state


def read_all(lake: Lake, server: str = "pg", source_id: str = "5a1f", at_once: int = 4) -> SourceState:
    """Read the log from where the ledger says it ended, ``at_once`` lines a batch, with a tail until its end."""
    with lake.writer() as writer:
        state = writer.ledger.source(source_id) or source(server, source_id)
        while state.line_no <= LINES[-1]:
            count = min(at_once, LINES[-1] - state.line_no + 1)
            state = read_on(writer, state, count, tail=1 if state.line_no + count <= LINES[-1] else 0)
    return state


def seen(lake: Lake) -> list[int]:
    """Numbers of the lines that a reader sees, in order."""
    both = "select line_no from record union all select line_no from unparsed order by 1"
    return [line for (line,) in lake.connect().sql(both).fetchall()]


def parts(lake: Lake) -> set[str]:
    """Parquet files of the two tables that hold rows."""
    files = (path for table in TABLES for path in (lake.path / "tables" / table).rglob("*.parquet"))
    return {path.relative_to(lake.path).as_posix() for path in files if path.name != "empty.parquet"}


def in_a_catalog(path: Path, sql: str) -> str:
    """What another process, with nothing but DuckDB, gets from the catalog."""
    code = "import sys, duckdb; print(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]).fetchall())"
    command = [sys.executable, "-c", code, str(path), sql]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def small(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", TABLES)


@pytest.mark.parametrize("table", [*registry.tables(), "source"])
def test_every_table_of_an_empty_lake_has_its_types_and_no_rows(tmp_path: Path, table: str) -> None:
    lake = Lake(tmp_path / "lake", registry.tables())
    connection = lake.connect()
    assert connection.sql(f'select count(*) from "{table}"').fetchall() == [(0,)]
    assert in_a_catalog(lake.catalog_path, f'select count(*) from "{table}"') == "[(0,)]"
    if table != "source":
        columns = {name: column.duckdb_type for name, column in registry.tables()[table].columns.items()}
        described = connection.sql(f'describe "{table}"').fetchall()
        assert {name: kind for name, kind, *_ in described} == {"server": "VARCHAR", **columns}
        assert [name for name, *_ in described] == ["server", *columns]


def test_every_row_is_stored_once_under_its_day(small: Lake) -> None:
    read_all(small)
    assert seen(small) == list(LINES)
    days = {path.split("/")[3] for path in parts(small) if path.startswith("tables/record/")}
    assert days == {"date=__HIVE_DEFAULT_PARTITION__", "date=2026-01-01", "date=2026-01-02", "date=2026-01-03"}


def test_values_come_back_as_they_were_written(small: Lake) -> None:
    with small.writer() as writer:
        read_on(writer, source(), 5)
    stored = small.connect().sql("select * exclude (server) from record order by line_no").pl()
    assert stored.equals(rows(RECORD, "5a1f", [1, 2, 3, 4, 5]))


SERVERS = ["plain", "a b/c=d%e&f", "100%25", "a+b", "..", "007", "it's", "x*[y]?{z}", "münchen", "NULL", "a\nb"]


@pytest.mark.parametrize("server", [*SERVERS, "__HIVE_DEFAULT_PARTITION__"])
def test_a_servers_name_comes_back_as_it_was_given(small: Lake, server: str) -> None:
    read_all(small, server)
    connection = small.connect()
    assert connection.sql("select distinct server from record").fetchall() == [(server,)]
    assert connection.sql("select server from source").fetchall() == [(server,)]
    assert connection.execute("select count(*) from record where server = ?", [server]).fetchall() == [(11,)]


def test_the_lakes_own_path_may_hold_what_a_glob_takes_for_a_sign(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake [1]* it's", TABLES)
    read_all(lake)
    assert seen(lake) == list(LINES)
    assert lake.prune(date(2026, 1, 2)) > 0


def test_parts_have_names_that_follow_from_source_and_offset(tmp_path: Path) -> None:
    one, two = (Lake(tmp_path / name, TABLES) for name in ("one", "two"))
    read_all(one)
    read_all(two)
    assert parts(one) == parts(two)


def test_the_tail_is_seen_and_gives_way_to_the_next_batch(small: Lake) -> None:
    with small.writer() as writer:
        state = read_on(writer, source(), 2, tail=1)
        assert seen(small) == [1, 2, 3]
        state = read_on(writer, state, 1, tail=1)  # a tail of the same day takes the other's name
        assert seen(small) == [1, 2, 3, 4]
        state = read_on(writer, state, 0, tail=2)
        assert seen(small) == [1, 2, 3, 4, 5]
        read_on(writer, state, 4)
    assert seen(small) == [1, 2, 3, 4, 5, 6, 7]
    assert not [path for path in parts(small) if TAIL in path]


def test_open_rows_of_a_source_are_taken_back_by_another(small: Lake) -> None:
    with small.writer() as writer:
        first, second = source(), source(source_id="77b0")
        batch = writer.batch(first)
        put(batch, first.source_id, [1, 2])
        put(batch, first.source_id, [3], OPEN)
        batch.commit(replace(first, offset=20, line_no=3))
        assert seen(small) == [1, 2, 3]
        batch = writer.batch(second)
        batch.take_back(first.source_id)
        put(batch, second.source_id, [3, 4])
        batch.commit(replace(second, offset=20, line_no=3))
    assert seen(small) == [1, 2, 3, 4]
    assert [path.rsplit("/", 1)[-1] for path in parts(small) if OPEN in path] == []


def test_a_batch_that_is_never_committed_leaves_nothing(small: Lake) -> None:
    with small.writer() as writer:
        put(writer.batch(source()), "5a1f", list(LINES))
    with small.writer():
        pass
    assert seen(small) == []
    assert not small.ledger.parts()


def test_a_reader_that_stays_connected_sees_every_commit(small: Lake) -> None:
    connection = small.connect()
    catalog = duckdb.connect(small.catalog_path, read_only=True)
    counts = []
    with small.writer() as writer:
        state = source()
        for _ in range(3):
            state = read_on(writer, state, 4)
            count = "select count(*) from record"
            counts.append([reader.sql(count).fetchall()[0][0] for reader in (connection, catalog)])
    catalog.close()
    assert counts == [[4, 4], [7, 7], [11, 11]]


def test_a_column_that_older_parts_lack_is_null_in_them(small: Lake) -> None:
    read_all(small)
    column = {"wait_event": Column("what it waited for"), "waits": Column("how often", int)}
    newer = Lake(small.path, {**TABLES, "record": replace(RECORD, columns={**RECORD.columns, **column})})
    count = "select count(*), count(wait_event), count(waits), typeof(any_value(waits)) from record"
    assert newer.connect().sql(count).fetchall() == [(11, 0, 0, "BIGINT")]
    assert in_a_catalog(newer.catalog_path, "select count(*), count(waits) from record") == "[(11, 0)]"
    assert Lake(small.path, TABLES).connect().sql("select count(*) from record").fetchall() == [(11,)]


def test_a_moved_lake_works_where_it_is_opened(small: Lake, tmp_path: Path) -> None:
    read_all(small)
    small.ledger.close()
    moved = Lake(small.path.rename(tmp_path / "moved"), TABLES)
    assert seen(moved) == list(LINES)
    assert in_a_catalog(moved.catalog_path, "select count(*) from record") == "[(11,)]"


def test_the_catalog_is_written_only_when_its_definitions_change(small: Lake) -> None:
    written = small.catalog_path.stat().st_ino
    read_all(small)
    Lake(small.path, TABLES)
    assert small.catalog_path.stat().st_ino == written
    small.catalog_path.unlink()
    assert Lake(small.path, TABLES).catalog_path.exists()


def test_a_view_is_made_over_the_stored_rows(tmp_path: Path) -> None:
    columns = {"day": Column("UTC day of the lines"), "lines": Column("how many", int)}
    body = "select server, cast(logged_at::date as varchar) as day, count(*) as lines from {stored} group by all"
    daily = Table("daily", "day", columns, view=body, stored=RECORD.columns)
    lake = Lake(tmp_path / "lake", {"daily": daily})
    with lake.writer() as writer:
        batch = writer.batch(source())
        batch.write("daily", rows(RECORD, "5a1f", [1, 2, 3, 4, 5]))
        batch.commit(replace(source(), offset=50))
    expected = [("pg", "2026-01-01", 4), ("pg", "2026-01-02", 1)]
    assert lake.connect().sql("select server, day, lines from daily order by day").fetchall() == expected
    other = duckdb.connect()
    other.execute(f"attach '{lake.catalog_path}' as elsewhere (read_only)")
    assert other.sql("select server, day, lines from elsewhere.daily order by day").fetchall() == expected


@pytest.mark.parametrize("lsn", ["0/0", "0/16B3748", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_an_lsn_is_read_and_printed_as_postgresql_does(small: Lake, lsn: str) -> None:
    found = small.connect().execute("select lsn_text(lsn_parse(?)), typeof(lsn_parse('0/1'))", [lsn]).fetchall()
    assert found == [(lsn, "UBIGINT")]


def test_the_table_source_says_what_was_read(small: Lake) -> None:
    with small.writer() as writer:
        read_on(writer, source(), 3, tail=1)
    columns = "server, source_id, path, log_format, read_bytes, lines"
    found = small.connect().sql(f"select {columns} from source").fetchall()
    assert found == [("pg", "5a1f", "/var/log/postgresql.log", "stderr", 40, 4)]
