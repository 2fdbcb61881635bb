"""The command line's contract: results on stdout, messages on stderr, exit codes 0, 1 and 2, one line per error."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT, SAMPLES

from pgtrace.api import LakeHandle

LOG = SAMPLES / "pg15-mixed" / "postgresql.log"
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def pgtrace(tmp_path: Path) -> Run:
    """Run a pgtrace command in a folder of its own."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "pgtrace", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, check=False)

    return run


def test_ingest_prints_one_row_per_source_and_then_that_nothing_is_new(pgtrace: Run) -> None:
    first = pgtrace("ingest", LOG, "--format", "csv")
    [row] = csv.DictReader(io.StringIO(first.stdout.decode()))
    assert (row["status"], row["records"], row["statements"], row["unparsed"]) == ("read", "3149", "1545", "0")
    assert first.stderr.decode() == f"pgtrace: reading {LOG}\n"
    [again] = csv.DictReader(io.StringIO(pgtrace("ingest", LOG, "--format", "csv").stdout.decode()))
    assert (again["status"], again["records"]) == ("skipped", "0")


def test_quiet_says_nothing_on_stderr(pgtrace: Run) -> None:
    assert pgtrace("ingest", LOG, "-q").stderr == b""


WRONG = {
    "no_such_file": (("ingest", "nosuch.log"), 2, "nosuch.log: no such file or folder"),
    "no_such_format": (("ingest", LOG, "--log-format", "xml"), 2, "unknown log format 'xml'"),
    "no_such_query": (("query", "slow_querys"), 2, "did you mean slow_queries"),
    "no_such_parameter": (("query", "slow_queries", "--set", "tops=3"), 2, "did you mean top"),
    "no_number": (("query", "slow_queries", "--set", "top=many"), 2, "top = 'many' is not a BIGINT"),
    "no_time": (("query", "slow_queries", "--since", "lunch"), 2, "'lunch' is not a time"),
    "no_such_table": (("schema", "statements"), 2, "did you mean statement"),
    "wrong_sql": (("sql", "select * from nowhere"), 1, "nowhere"),
    "wrong_prefix": (("ingest", LOG, "--prefix", "%m <%p> ", "-q"), 1, "reads none of its lines"),
    "no_such_escape": (("ingest", LOG, "--prefix", "%m %y", "-q"), 2, "%y"),
    "no_such_option": (("ingest", LOG, "--nope"), 2, "No such option"),
    "no_such_folder": (("demo", "nowhere"), 2, "nowhere: no such folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_one_line_with_their_exit_code(pgtrace: Run, name: str) -> None:
    arguments, code, text = WRONG[name]
    result = pgtrace(*arguments)
    assert result.returncode == code
    assert text in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_an_ambiguous_zone_is_refused_with_the_option_to_give(pgtrace: Run, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("2026-07-24 06:32:07.506 CST [1] LOG:  duration: 1.0 ms  statement: select 1\n" * 3)
    refused = pgtrace("ingest", "x.log")
    assert refused.returncode == 1
    assert "--timezone" in refused.stderr.decode()
    assert pgtrace("ingest", "x.log", "--timezone", "Asia/Shanghai").returncode == 0
    logged = pgtrace("sql", "select min(logged_at) as at from record", "--format", "csv").stdout
    assert logged == b"at\r\n2026-07-23T22:32:07.506000Z\r\n"


def test_one_bad_source_does_not_keep_the_others_out(pgtrace: Run, tmp_path: Path) -> None:
    shutil.copy(LOG, tmp_path / "good.log")
    (tmp_path / "bad.log.gz").write_bytes(b"\x1f\x8b\x08\0not gzip")
    result = pgtrace("ingest", "good.log", "bad.log.gz")
    assert result.returncode == 1
    assert "bad.log.gz" in result.stderr.decode()
    assert pgtrace("sql", "select count(*) as n from record", "--format", "csv").stdout == b"n\r\n3149\r\n"


def test_a_query_that_refuses_its_parameter_says_why(pgtrace: Run) -> None:
    pgtrace("ingest", LOG)
    result = pgtrace("query", "statements_by", "--set", "by=colour")
    assert result.returncode == 1
    [line] = result.stderr.decode().splitlines()
    assert "application_name" in line
    assert "internal" not in line


def test_formats_of_rows(pgtrace: Run) -> None:
    pgtrace("ingest", LOG)
    sql = """select timestamptz '2026-11-24 06:00:00+00' as at, 'a "b", c' as text, ['x', 'y z'] as list, null"""
    as_csv = pgtrace("sql", sql, "--format", "csv").stdout.decode()
    assert as_csv == 'at,text,list,NULL\r\n2026-11-24T06:00:00.000000Z,"a ""b"", c","{""x"",""y z""}",\r\n'
    assert json.loads(pgtrace("sql", sql, "--format", "json").stdout) == [
        {"at": "2026-11-24T06:00:00.000000Z", "text": 'a "b", c', "list": ["x", "y z"], "NULL": None}
    ]
    rows = pl.read_parquet(io.BytesIO(pgtrace("sql", sql, "--format", "parquet").stdout))
    assert rows["list"].to_list() == [["x", "y z"]]
    assert 'a "b", c' in pgtrace("sql", sql).stdout.decode()


def test_sql_from_stdin(pgtrace: Run) -> None:
    assert pgtrace("sql", "--format", "csv", stdin=b"select 1 as one").stdout == b"one\r\n1\r\n"


def test_audit_meets_and_fails_when_a_part_is_gone(pgtrace: Run, tmp_path: Path) -> None:
    pgtrace("ingest", LOG)
    assert pgtrace("audit").returncode == 0
    part = next((tmp_path / "lake" / "tables" / "record").rglob("server=default/*/*.parquet"))
    part.unlink()
    broken = pgtrace("audit")
    assert broken.returncode == 1
    assert part.name in broken.stderr.decode()


def test_schema_lists_tables_and_columns(pgtrace: Run) -> None:
    tables = pgtrace("schema", "--format", "csv").stdout.decode()
    assert "temp_file,temporary file," in tables
    columns = list(csv.DictReader(io.StringIO(pgtrace("schema", "temp_file", "--format", "csv").stdout.decode())))
    assert {
        "column": "size_bytes",
        "type": "BIGINT",
        "unit": "bytes",
        "meaning": "its size when it was deleted",
    } in columns


def test_the_demo_prints_what_the_readme_shows(pgtrace: Run) -> None:
    """But for the widths of tables, and where the README is cut short, which is after … ."""
    result = pgtrace("demo", SAMPLES)
    assert result.returncode == 0
    printed = " ".join(result.stdout.decode().replace("─", " ").split())
    shown = (ROOT / "README.md").read_text().split("```text\n")[1].split("```")[0]
    pieces = [" ".join(piece.replace("─", " ").split()) for piece in re.split("…$", shown, flags=re.MULTILINE)]
    assert [piece for piece in pieces if piece not in printed] == []


@pytest.mark.parametrize("reader", ["head -c 1", "true"])
@pytest.mark.parametrize("output", ["table", "csv", "json", "parquet"])
def test_a_reader_of_a_pipe_may_go_away(sample_lake: LakeHandle, reader: str, output: str) -> None:
    """Before the first byte, or while there is more than a pipe holds."""
    rows = f"sql --lake {sample_lake.path} --format {output} 'select message from record order by logged_at limit 5000'"
    command = f"{sys.executable} -m pgtrace {rows} | {reader}"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['pgtrace', '--help']\n"
        "try: runpy.run_module('pgtrace', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'polars', 'duckdb', 'pyarrow', 'numpy', 'postgast'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"Usage" in result.stdout
    assert result.stderr == b"[]\n"
