"""The view event_window: which statement made a temporary file, as the log does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.api import LakeHandle

FILE = '[7] LOG:  temporary file: path "base/pgsql_tmp/pgsql_tmp7.0", size 679936'
SORT = "statement: select * from facts order by k"


@pytest.mark.parametrize(
    ("lines", "maker", "seconds"),
    [
        pytest.param(
            [f"12:00:05.100 UTC {FILE}", f"12:00:06.100 UTC [7] LOG:  duration: 4000.000 ms  {SORT}"],
            "select * from facts order by k",
            4.0,
            id="the one that is over next",
        ),
        pytest.param(
            [f"12:00:05.100 UTC {FILE}", f"12:03:25.000 UTC [7] LOG:  duration: 210000.000 ms  {SORT}"],
            "select * from facts order by k",
            210.0,
            id="minutes later",
        ),
        pytest.param(
            [f"12:00:59.990 UTC {FILE}", f"12:01:00.010 UTC [7] LOG:  duration: 100.000 ms  {SORT}"],
            "select * from facts order by k",
            0.1,
            id="in the next minute",
        ),
        pytest.param(
            # a cursor's file goes when the cursor is closed, which is after its last FETCH was logged
            [f"12:00:05.100 UTC {FILE}", "12:00:06.100 UTC [7] LOG:  duration: 2.000 ms  statement: commit"],
            None,
            1.0,
            id="what began later did not make it",
        ),
        pytest.param(
            [f"12:00:05.100 UTC {FILE}", f"12:00:06.100 UTC [8] LOG:  duration: 4000.000 ms  {SORT}"],
            None,
            1.0,
            id="nor another process",
        ),
        pytest.param(
            [f"12:00:05 UTC {FILE}", f"12:00:06 UTC [7] LOG:  duration: 300.000 ms  {SORT}"],
            "select * from facts order by k",
            1.0,
            id="times of whole seconds",
        ),
    ],
)
def test_a_temporary_file_is_of_the_statement_that_ran(
    lake: LakeHandle, tmp_path: Path, lines: list[str], maker: str | None, seconds: float
) -> None:
    log = tmp_path / "postgresql.log"
    log.write_text("".join(f"2026-11-24 {line}\n" for line in lines))
    lake.ingest(log)
    found = lake.sql(
        "select query_text, epoch_us(ended_at) - epoch_us(started_at) as us from event_window "
        "left join query using (fingerprint) where kind = 'temporary files'"
    ).pl()
    assert [(text, us / 1e6) for text, us in found.rows()] == [(maker, seconds)]
