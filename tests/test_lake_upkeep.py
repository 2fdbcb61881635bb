"""Upkeep changes files, not rows; and the audit sees what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from test_lake import LINES, NOT_PARSED, TABLES, WITHOUT_TIME, parts, read_all, read_on, seen, source

from pgtrace.lake import TAIL, Lake


@pytest.fixture
def full(tmp_path: Path) -> Lake:
    """Two servers' logs, each in several parts a day."""
    lake = Lake(tmp_path / "lake", TABLES)
    with lake.writer() as writer:
        for server, source_id in (("pg", "5a1f"), ("pg", "77b0"), ("standby", "c0de")):
            state = source(server, source_id)
            while state.line_no <= LINES[-1]:
                state = read_on(writer, state, 2)
    return lake


def rows_of(lake: Lake) -> pl.DataFrame:
    frame: pl.DataFrame = lake.connect().sql("select * from record order by server, source_id, line_no").pl()
    return frame


def test_compaction_leaves_one_part_a_day_and_the_same_rows(full: Lake) -> None:
    before, many = rows_of(full), len(parts(full))
    full.compact()
    assert rows_of(full).equals(before)
    folders = [path.rsplit("/", 1)[0] for path in parts(full)]
    assert len(folders) == len(set(folders)) < many
    assert full.audit()[1] == []
    assert full.audit()[0]["meets"].all()


def test_compaction_of_a_compacted_lake_changes_nothing(full: Lake) -> None:
    full.compact()
    before = parts(full)
    assert full.compact() == (0, 0)
    assert parts(full) == before


def test_reading_goes_on_after_compaction(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", TABLES)
    with lake.writer() as writer:
        state = read_on(writer, read_on(writer, source(), 2), 1, tail=1)  # lines 1 to 4 are of one day
    lake.compact()
    assert any(TAIL in path for path in parts(lake))
    with lake.writer() as writer:
        read_on(writer, state, 9)
    lake.compact()
    assert seen(lake) == list(LINES)


def test_compaction_keeps_columns_that_only_some_parts_have(full: Lake) -> None:
    part = full.path / min(path for path in parts(full) if "server=standby/date=2026-01-01" in path)
    pl.read_parquet(part, hive_partitioning=False).drop("hint").write_parquet(part)
    before = rows_of(full)
    full.compact()
    assert rows_of(full).equals(before)


def test_pruned_days_are_gone_and_the_sums_still_meet(full: Lake) -> None:
    full.compact()  # a part then holds rows of more than one source
    full.prune(date(2026, 1, 3))
    left = [line for line in LINES if line >= 10 or line == WITHOUT_TIME]
    assert seen(full) == sorted(left * 3)
    sums, problems = full.audit()
    assert problems == []
    assert sums["meets"].all()
    assert full.prune(date(2026, 1, 3)) == 0
    assert full.audit()[0]["meets"].all()


def test_what_was_pruned_is_not_read_again(full: Lake) -> None:
    full.prune(date(2026, 1, 3))
    before = seen(full)
    read_all(full)
    assert seen(full) == before


def test_the_audit_counts_lines_where_they_are(full: Lake) -> None:
    sums, _ = full.audit()
    lines, unparsed = len(LINES), sum(line == NOT_PARSED for line in LINES)
    found = sums.select("lines", "in_records", "unparsed", "meets").rows()
    assert found == [(lines, lines - unparsed, unparsed, True)] * 3


def _lose(part: Path) -> None:
    part.unlink()


def _shorten(part: Path) -> None:
    pl.read_parquet(part, hive_partitioning=False).head(1).write_parquet(part)


def _double(part: Path) -> None:
    shutil.copy(part, part.with_name("copy.parquet"))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a part is gone": (_lose, "is gone"),
    "a part lacks rows": (_shorten, "has 1 rows, the ledger says 2"),
    "a part is not ours": (_double, "not known to the ledger"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_the_audit_names_what_does_not_fit(full: Lake, name: str) -> None:
    damage, words = DAMAGE[name]
    damage(full.path / min(path for path in parts(full) if "record/server=standby/date=2026-01-01" in path))
    sums, problems = full.audit()
    assert len(problems) == 1
    assert words in problems[0]
    assert sums.filter(~pl.col("meets"))["server"].to_list() == ["standby"]
