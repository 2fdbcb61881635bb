"""One execution is one row, however many lines tell of it and wherever the log is cut."""

import io
import tomllib
from pathlib import Path

import polars as pl
import pytest

from pgtrace import registry
from pgtrace.ingest.carry import Waiting, from_bytes, join_rows, to_bytes
from pgtrace.ingest.chunks import chunks
from pgtrace.ingest.reader import read_chunk
from pgtrace.logformat import Reading

CASES = tomllib.loads((Path(__file__).parent / "data" / "executions.toml").read_text())
READING = Reading("stderr", prefix="%m [%p] ")
COLUMNS = ("phase", "logged_by", "duration_ms", "statement")


def stored(log: str, chunk_bytes: int) -> pl.DataFrame:
    """The rows of table statement's files, in the order of their lines."""
    waiting: Waiting = {}
    open_rows: Waiting = {}
    parts: list[pl.DataFrame | None] = []
    stream = io.BytesIO(log.lstrip("\n").encode())
    for chunk in chunks(stream, registry.log_formats()["stderr"], READING, 0, 1, chunk_bytes):
        rows = read_chunk(chunk, READING, "source")
        waiting, open_rows = join_rows(rows, from_bytes(to_bytes(waiting)))
        parts.append(rows.tables.get("statement"))
    return pl.concat([part for part in [*parts, open_rows.get("statement")] if part is not None]).sort("line_no")


@pytest.mark.parametrize("chunk_bytes", [1_000_000, 200])
@pytest.mark.parametrize("case", CASES)
def test_every_execution_is_one_row(case: str, chunk_bytes: int) -> None:
    executions = stored(CASES[case]["log"], chunk_bytes).filter(pl.col("execution_line_no").is_null())
    found = [
        [value or "" if name == "statement" else value for name, value in row.items()]
        for row in executions.select(COLUMNS).to_dicts()
    ]
    assert found == CASES[case]["rows"]


@pytest.mark.parametrize("chunk_bytes", [1_000_000, 200])
@pytest.mark.parametrize("case", CASES)
def test_every_plan_has_its_execution(case: str, chunk_bytes: int) -> None:
    plans = stored(CASES[case]["log"], chunk_bytes).filter(logged_by="plan")
    found = plans.select("line_no", pl.coalesce("execution_line_no", "line_no").alias("of")).rows()
    assert [list(pair) for pair in found] == CASES[case].get("plans", [])
    tied = plans.filter(pl.col("execution_line_no").is_not_null())
    assert set(tied["execution_source_id"]) <= {"source"}
