"""COPY … CSV HEADER loads every file of a report into PostgreSQL as it is, and what is loaded is what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_live_server import BIN, Server, open_to_all, running_server

from pgtrace.api import LakeHandle
from pgtrace.report import Wanted, write_report
from pgtrace.report.csvfile import unescaped, write_csv
from pgtrace.report.manifest import postgresql_type
from pgtrace.timespan import window

pytestmark = pytest.mark.skipif(BIN is None, reason="PostgreSQL's server is not installed: apt-get install postgresql")
EVER = window(None, None)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as found:
        yield found


@pytest.fixture
def out(server: Server, tmp_path: Path) -> Path:
    """A folder to be, where the server's user can look into it."""
    folder = server.data.parent / tmp_path.name
    folder.mkdir()
    open_to_all(folder)
    return folder / "out"


def loaded(server: Server, folder: Path, tables: dict[str, dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file of ``folder`` in a table with these columns, in the order of the file."""
    script = folder.parent / "load.sql"
    with script.open("w") as file:
        file.write("set timezone = 'UTC';\n")
        for name, columns in tables.items():
            typed = ", ".join(f'"{column}" {type_}' for column, type_ in columns.items())
            named = ", ".join(f'"{column}"' for column in columns)
            file.write(f'create table "{name}" ({typed}, copied_line bigserial);\n')
            file.write(f"copy \"{name}\" ({named}) from '{folder / name}.csv' csv header;\n")
            rows = "coalesce(jsonb_agg(to_jsonb(t) - 'copied_line' order by copied_line), '[]')"
            file.write(f'select {rows} from "{name}" t;\n')
            file.write(f'drop table "{name}";\n')
    where = ("-h", "127.0.0.1", "-p", server.port, "-U", "postgres")
    done = server.run("psql", *where, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", str(script))
    return dict(zip(tables, map(json.loads, done.stdout.rstrip("\n").split("\n")), strict=True))


def as_json(value: object) -> object:
    """A value as PostgreSQL's JSON has it."""
    if isinstance(value, datetime):
        whole, _, fraction = value.astimezone(UTC).isoformat().removesuffix("+00:00").partition(".")
        return f"{whole}{'.' if fraction else ''}{fraction.rstrip('0')}+00:00"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


def test_every_query_of_real_logs(server: Server, sample_lake: LakeHandle, out: Path) -> None:
    write_report(sample_lake, out, Wanted(EVER, formats=("csv", "parquet")))
    open_to_all(out)
    entries = {entry["name"]: entry for entry in json.loads((out / "manifest.json").read_text())["queries"]}
    tables = {
        name: {column["name"]: column["postgresql"] for column in entry["columns"]} for name, entry in entries.items()
    }
    found = loaded(server, out, tables)
    assert sum(map(len, found.values())) > 1000
    for name, rows in found.items():
        expected = pl.read_parquet(out / f"{name}.parquet").to_dicts()
        assert len(rows) == len(expected), name
        for row, wanted in zip(rows, expected, strict=True):
            text = {key: unescaped(value) if isinstance(wanted[key], str) else value for key, value in row.items()}
            assert text == {key: as_json(value) for key, value in wanted.items()}, name


HOSTILE = [
    "=1+1",
    "'=1",
    "''@x",
    "-1",
    " +1",
    "\t",
    "\rx",
    "\n=1",
    "\uff1d1",
    "'x",
    "\\.",
    "a\n\\.\nb",
    'q"q',
    "a,b",
    "NULL",
]
HOSTILE += ["", "é\u2028", "\\N", "a\r\nb", " lead", "\ufeff=1", "'"]
TEXT = [None, *HOSTILE]


@pytest.mark.parametrize("raw_cells", [True, False])
def test_texts_lists_and_numbers_that_nobody_expects(server: Server, out: Path, raw_cells: bool) -> None:
    numbers = [float("nan"), float("inf"), -float("inf"), 1e-300, 0.1 + 0.2, 5e-324, -0.0, 1e22, None]
    count = len(TEXT)
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 11, 24, 6, 0, 0, 1, UTC), None]
    rows = pl.DataFrame(
        {
            "text": TEXT,
            "number": [numbers[n % len(numbers)] for n in range(count)],
            "large": [2**64 - 1, None, 0] * (count // 3) + [1] * (count % 3),
            "is_true": [True, False, None] * (count // 3) + [None] * (count % 3),
            "texts": [TEXT, [], None] * (count // 3) + [[None]] * (count % 3),
            "at": (moments * count)[:count],
            "times": [[moments[1], None], [], None] * (count // 3) + [[]] * (count % 3),
        },
        schema_overrides={
            "large": pl.UInt64,
            "at": pl.Datetime("us", "UTC"),
            "times": pl.List(pl.Datetime("us", "UTC")),
        },
    )
    out.mkdir()
    assert write_csv(rows, out / "odd.csv", raw_cells=raw_cells) == (0 if raw_cells else 10)
    open_to_all(out)
    types = ("VARCHAR", "DOUBLE", "UBIGINT", "BOOLEAN", "VARCHAR[]", *["TIMESTAMP WITH TIME ZONE"] * 2)
    columns = dict(zip(rows.columns, map(postgresql_type, types), strict=True))
    columns["times"] += "[]"
    found = loaded(server, out, {"odd": columns})["odd"]
    if not raw_cells:
        found = [{**row, "text": row["text"] and unescaped(row["text"])} for row in found]
    assert [row["text"] for row in found] == TEXT
    assert found == [{key: as_json(value) for key, value in row.items()} for row in rows.to_dicts()]


def test_postgresql_undoes_what_makes_cells_harmless(server: Server, out: Path) -> None:
    """The expression that the documentation gives."""
    out.mkdir()
    write_csv(pl.DataFrame({"n": range(len(HOSTILE)), "text": HOSTILE}), out / "odd.csv")
    open_to_all(out)
    undo = (Path(__file__).parent.parent / "docs" / "scheduling.md").read_text(encoding="utf-8")
    [expression] = [line.strip() for line in undo.splitlines() if line.strip().startswith("regexp_replace(")]
    script = out.parent / "undo.sql"
    script.write_text(
        f"create table undone (n int, text text);\ncopy undone from '{out}/odd.csv' csv header;\n"
        f"select jsonb_agg({expression} order by n) from undone;\ndrop table undone;\n"
    )
    where = ("-h", "127.0.0.1", "-p", server.port, "-U", "postgres")
    done = server.run("psql", *where, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", str(script))
    assert json.loads(done.stdout) == HOSTILE


def test_a_nul_which_postgresql_cannot_store_is_replaced(tmp_path: Path) -> None:
    write_csv(pl.DataFrame({"text": ["a\0b", "\0=1"], "list": [["\0"], []]}), tmp_path / "nul.csv")
    assert (tmp_path / "nul.csv").read_text(encoding="utf-8").splitlines() == [
        "text,list",
        'a\ufffdb,"{""\ufffd""}"',
        "\ufffd=1,{}",
    ]
