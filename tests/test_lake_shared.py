"""A lake of real logs that others use too: a second writer, readers, other tools; and what becomes of damage."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import SAMPLES

import pgtrace
from pgtrace.api import LakeHandle, described_tables
from pgtrace.errors import LakeError

LOGS = sorted((SAMPLES / "pg16-mixed").glob("postgresql-*.log"))
LINES = LOGS[0].read_bytes().splitlines(keepends=True)
#: three records before midnight and three after it, behind a line that no time goes with
OVER_MIDNIGHT = b"a line before the first record\n" + b"".join(
    f"2026-03-0{day} {clock}.000 UTC [7] LOG:  statement: select {number}\n".encode()
    for number, (day, clock) in enumerate(
        [(1, "23:59:57"), (1, "23:59:58"), (1, "23:59:59"), (2, "00:00:00"), (2, "00:00:01"), (2, "00:00:02")]
    )
)
MIDNIGHT_DAYS = ["2026-03-01", "2026-03-02"]
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def sums_meet(lake: LakeHandle) -> bool:
    sums, problems = lake.audit()
    return problems == [] and bool(sums["meets"].all())


def grow(log: Path, lines: list[bytes]) -> None:
    """A log of these lines that was last written to an hour ago."""
    log.write_bytes(b"".join(lines))
    os.utime(log, (time.time() - 3600,) * 2)


def record_parts(lake: LakeHandle) -> list[Path]:
    return sorted(path for path in (lake.path / "tables/record").rglob("*.parquet") if path.name != "empty.parquet")


def count(lake: LakeHandle, table: str = "record") -> int:
    return int(lake.sql(f'select count(*) from "{table}"').fetchall()[0][0])


INGEST = "import sys, pgtrace; pgtrace.open(sys.argv[1]).ingest(sys.argv[2:])"


def start_ingest(lake: Path, logs: list[Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", INGEST, str(lake), *map(str, logs)])


def test_two_that_ingest_the_same_logs_at_once_read_them_once(lake: LakeHandle, tmp_path: Path) -> None:
    writers = [start_ingest(tmp_path / "lake", LOGS) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    once = pgtrace.open(tmp_path / "once")
    once.ingest(LOGS)
    for table in ("record", "statement", "connection"):
        assert lake.sql(f"from {table} order by all").pl().equals(once.sql(f"from {table} order by all").pl())
    assert sums_meet(lake)


def test_a_reader_that_stays_connected_is_always_answered(lake: LakeHandle, tmp_path: Path) -> None:
    """While a log grows: no table vanishes. A part that went between listing and reading is an error to ask again."""
    tables = [table for table in described_tables() if table != "source"]
    question = " union all ".join(f'select count(*) from "{table}"' for table in tables)
    log = tmp_path / "postgresql.log"
    grow(log, LINES)
    other = duckdb.connect(lake.path / "pgtrace.duckdb", read_only=True)
    seen: set[int] = set()
    with start_ingest(lake.path, [log]) as writer:
        while writer.poll() is None:
            for connection in (lake.connection, other):
                try:
                    seen.add(len(connection.sql(question).fetchall()))
                except duckdb.IOException as error:
                    if "No such file" not in str(error):
                        raise
    assert seen == {len(tables)}
    assert other.sql("select count(*) from record").fetchall() == [(count(lake),)]
    other.close()


@pytest.mark.parametrize("server", ["a b", "x/y", "ü=%2F", "it's", "*?["])
def test_a_servers_name_is_found_as_it_was_given(lake: LakeHandle, server: str) -> None:
    lake.ingest(LOGS[2], server=server)
    lake.ingest(LOGS[2], server="another")
    found = lake.connection.execute("select count(*) from statement where server = ?", [server]).fetchall()
    assert found == [(count(lake, "statement") // 2,)]
    assert found != [(0,)]


def test_an_empty_lake_answers_for_every_table_and_view(lake: LakeHandle) -> None:
    assert {table: count(lake, table) for table in described_tables()} == dict.fromkeys(described_tables(), 0)


def test_the_catalog_gives_any_client_the_same_rows(sample_lake: LakeHandle) -> None:
    with duckdb.connect(sample_lake.path / "pgtrace.duckdb", read_only=True) as other:
        other.execute("set TimeZone = 'UTC'")
        for table in described_tables():
            question = f'select * from "{table}" order by all'
            assert other.sql(question).pl().equals(sample_lake.sql(question).pl()), table


def test_a_moved_lake_goes_on_where_it_was(lake: LakeHandle, tmp_path: Path) -> None:
    lake.ingest(LOGS[:2])
    moved = pgtrace.open(lake.path.rename(tmp_path / "elsewhere"))
    assert [result.status for result in moved.ingest(LOGS)] == ["skipped", "skipped", "read"]
    assert sums_meet(moved)
    with duckdb.connect(moved.path / "pgtrace.duckdb", read_only=True) as other:
        assert other.sql("select count(*) from record").fetchall() == [(count(moved),)]


def test_days_are_folders_and_rows_without_time_are_kept(lake: LakeHandle, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(OVER_MIDNIGHT)
    lake.ingest([tmp_path / "x.log"])
    assert [path.parent.name for path in record_parts(lake)] == [
        "date=2026-03-01",
        "date=2026-03-02",
        "date=2026-03-02",
    ]
    days = "select logged_at::date::varchar, count(*) from record group by all order by all"
    assert lake.sql(days).fetchall() == [(day, 3) for day in MIDNIGHT_DAYS]
    assert lake.sql("select line_no, near is null from unparsed").fetchall() == [(1, True)]
    assert sums_meet(lake)


def test_polars_reads_the_folders(lake: LakeHandle, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(OVER_MIDNIGHT)
    lake.ingest([tmp_path / "x.log"], server="a b")
    frame = pl.scan_parquet(lake.path / "tables/record/**/*.parquet", hive_partitioning=True, extra_columns="ignore")
    rows = frame.filter(pl.col("server") == "a b").group_by("date").len().sort("date").collect()
    assert rows.cast({"date": pl.String})["date"].to_list() == MIDNIGHT_DAYS
    assert rows["len"].to_list() == [3, 3]


def test_a_compacted_log_that_grows_is_read_on(lake: LakeHandle, tmp_path: Path) -> None:
    log = tmp_path / "postgresql.log"
    for end in (500, 1000, 1500):
        grow(log, LINES[:end])
        lake.ingest([log])
    before, parts = lake.sql("from record order by all").pl(), len(record_parts(lake))
    lake.compact()
    assert lake.sql("from record order by all").pl().equals(before)
    assert len(record_parts(lake)) < parts
    assert lake.compact() == (0, 0)
    assert sums_meet(lake)
    grow(log, LINES)
    lake.ingest([log])
    assert sums_meet(lake)
    whole = pgtrace.open(tmp_path / "whole")
    whole.ingest([log])
    assert lake.sql("from record order by all").pl().equals(whole.sql("from record order by all").pl())


def test_a_pruned_log_that_grows_is_read_on(lake: LakeHandle, tmp_path: Path) -> None:
    """Also the last record, which is read again when a log grows, does not come back."""
    whole = pgtrace.open(tmp_path / "whole")
    whole.ingest(LOGS[0])
    [(first_left,)] = whole.sql("select line_no from record order by line_no offset 300 limit 1").fetchall()
    log = tmp_path / "postgresql.log"
    grow(log, LINES[: first_left - 1])
    lake.ingest([log])
    assert lake.prune("2030-01-01") > 0
    assert count(lake) == 0
    assert sums_meet(lake)
    assert [result.bytes_read for result in lake.ingest([log])] == [0]
    grow(log, LINES)
    lake.ingest([log])
    rows = whole.sql(f"from record where line_no >= {first_left} order by all").pl()
    assert lake.sql("from record order by all").pl().equals(rows)
    assert sums_meet(lake)


def test_only_the_days_before_are_pruned(lake: LakeHandle, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(OVER_MIDNIGHT)
    lake.ingest([tmp_path / "x.log"])
    lake.prune(date(2026, 3, 2))
    assert lake.sql("select distinct logged_at::date::varchar from record").fetchall() == [("2026-03-02",)]
    assert count(lake, "unparsed") == 1
    assert sums_meet(lake)


def _cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def _overwrite(part: Path) -> None:
    part.write_bytes(b"PAR1" + bytes(200) + b"PAR1")


def _add_stray(part: Path) -> None:
    part.with_name("stray.parquet").write_bytes(part.read_bytes())


def _add_stray_named_empty(part: Path) -> None:
    part.with_name("empty.parquet").write_bytes(part.read_bytes())


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (Path.unlink, "gone"),
    "cut off": (_cut, "cannot be read"),
    "overwritten": (_overwrite, "cannot be read"),
    "stray": (_add_stray, "stray.parquet: not known to the ledger"),
    "stray that looks like ours": (_add_stray_named_empty, "empty.parquet: not known to the ledger"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_the_audit_names_the_damaged_part(lake: LakeHandle, name: str) -> None:
    lake.ingest(LOGS)
    damage, words = DAMAGE[name]
    damage(record_parts(lake)[0])
    for opened in (lake, pgtrace.open(lake.path)):
        sums, [problem] = opened.audit()
        assert words in problem
        assert problem.startswith(str(lake.path))
        assert sums["meets"].to_list().count(False) == 1


@pytest.mark.parametrize("work", [LakeHandle.compact, lambda lake: lake.prune("2030-01-01")], ids=["compact", "prune"])
def test_upkeep_leaves_a_damaged_part_alone(
    lake: LakeHandle, tmp_path: Path, work: Callable[[LakeHandle], object]
) -> None:
    log = tmp_path / "postgresql.log"
    for end in (500, 1000):
        grow(log, LINES[:end])
        lake.ingest([log])
    part = record_parts(lake)[0]
    _cut(part)
    with pytest.raises(LakeError) as raised:
        work(lake)
    assert len(str(raised.value).splitlines()) == 1
    assert part.exists()


def _not_sqlite(path: Path) -> None:
    path.mkdir()
    (path / "ledger.sqlite").write_bytes(b"no database" * 1000)


def _ledger_lost(path: Path) -> None:
    pgtrace.open(path).ingest(LOGS[2])
    for file in path.glob("ledger.sqlite*"):
        file.unlink()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (lambda path: path.write_text("no folder"), "Not a directory"),
    "no SQLite": (_not_sqlite, "ledger.sqlite: file is not a database"),
    "no ledger": (_ledger_lost, "ledger.sqlite: is gone"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_lake_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    breaks, words = BROKEN[name]
    breaks(tmp_path / "lake")
    with pytest.raises(LakeError) as raised:
        pgtrace.open(tmp_path / "lake")
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_what_a_power_cut_tore_is_made_again(lake: LakeHandle) -> None:
    lake.ingest(LOGS[2])
    rows = count(lake)
    for empty in (lake.path / "tables").rglob("empty.parquet"):
        empty.write_bytes(b"")
    (lake.path / "catalog.sql").unlink()
    (lake.path / "pgtrace.duckdb.wal").write_bytes(b"of another catalog" * 100)
    assert count(pgtrace.open(lake.path)) == rows
    with duckdb.connect(lake.path / "pgtrace.duckdb", read_only=True) as other:
        assert other.sql("select count(*) from record").fetchall() == [(rows,)]


def test_a_staged_part_that_was_thrown_away_takes_nothing_with_it(lake: LakeHandle, tmp_path: Path) -> None:
    """A compaction was killed, and somebody emptied ``staging``: the parts it was to replace stay."""
    log = tmp_path / "postgresql.log"
    for end in (500, 1000):
        grow(log, LINES[:end])
        lake.ingest([log])
    child = Path(__file__).parent / "data" / "killed_ingest.py"
    subprocess.run([sys.executable, str(child), str(lake.path), "compact", "recorded", "1"], check=False)
    [staged] = (lake.path / "staging").rglob("*.parquet")
    question = f"from {staged.parts[-4]} order by all"
    rows = lake.sql(question).pl()
    staged.unlink()
    lake.ingest([log])
    assert rows.height > 0
    assert lake.sql(question).pl().equals(rows)
    assert lake.audit()[1] != []
