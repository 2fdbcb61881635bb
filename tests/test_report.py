"""pgtrace report: a folder with the answers and a manifest that says what they are of."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import SAMPLES
from polars.testing import assert_frame_equal

from pgtrace.api import LakeHandle, described_tables
from pgtrace.errors import PgtraceError, UsageError
from pgtrace.query import find, queries
from pgtrace.report import Wanted, write_report
from pgtrace.report.missing import NEEDED
from pgtrace.timespan import window

EVER = window(None, None)
DAY = window("2026-11-24", "2026-11-25")
LOG = SAMPLES / "pg15-mixed" / "postgresql.log"


def manifest(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return content


def is_whole(out: Path) -> bool:
    """Whether the folder holds exactly the files of its manifest, as the manifest has them."""
    wanted = {file["name"]: file["sha256"] for file in manifest(out)["files"]}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
    found.pop("manifest.json")
    return found == wanted


@pytest.fixture(scope="module")
def whole(sample_lake: LakeHandle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything in every format."""
    out = tmp_path_factory.mktemp("reports") / "all"
    write_report(sample_lake, out, Wanted(EVER, formats=("csv", "parquet", "json")))
    return out


def test_a_report_has_a_file_per_query_and_format_and_its_manifest_names_them(whole: Path) -> None:
    expected = {f"{name}.{ending}" for name in queries() for ending in ("csv", "parquet", "json")}
    assert {path.name for path in whole.iterdir()} == expected | {"manifest.json"}
    assert is_whole(whole)
    for entry in manifest(whole)["queries"]:
        query = find(entry["name"])
        assert entry["question"] == query.question
        assert [(column["name"], column["type"]) for column in entry["columns"]] == [
            (name, column.type) for name, column in query.columns.items()
        ]


@pytest.mark.parametrize("name", sorted(queries()))
def test_the_files_hold_the_rows_of_the_query_in_the_order_of_its_columns(
    name: str, whole: Path, sample_lake: LakeHandle
) -> None:
    [entry] = [entry for entry in manifest(whole)["queries"] if entry["name"] == name]
    rows = sample_lake.query(name).pl()
    assert_frame_equal(pl.read_parquet(whole / f"{name}.parquet"), rows)  # sums of fractions may differ a little
    assert entry["rows"] == rows.height
    with (whole / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == list(find(name).columns)
    assert len(lines) == rows.height
    objects = json.loads((whole / f"{name}.json").read_text(encoding="utf-8"))
    assert [list(item) for item in objects] == [header] * rows.height


def test_the_manifest_says_what_data_was_there(sample_lake: LakeHandle, tmp_path: Path) -> None:
    made = write_report(sample_lake, tmp_path / "out", Wanted(DAY, ("slow_queries",), server="pg15-mixed"))
    content = manifest(tmp_path / "out")
    expected = sample_lake.sql(
        "select count(*), cast(sum(lines) as bigint), cast(sum(unparsed) as bigint) from source "
        "where server = 'pg15-mixed'"
    ).fetchall()
    assert [tuple(content["data"][key] for key in ("sources", "lines", "unparsed"))] == expected
    assert content["data"]["servers"] == ["pg15-mixed"]
    assert content["data"]["first_record_at"].startswith("2026-11-24T06:")
    assert content["window"]["since"] == "2026-11-24T00:00:00.000000Z"
    assert (content["window"]["asked_until"], content["window"]["timezone"]) == ("2026-11-25", "UTC")
    [entry] = content["queries"]
    assert entry["parameters"] == {
        "since": "2026-11-24T00:00:00.000000Z",
        "until": "2026-11-25T00:00:00.000000Z",
        "server": "pg15-mixed",
        "top": "50",
    }
    assert [file.rows for file in made.files] == [entry["rows"]]
    assert entry["rows"] > 0


def test_what_could_not_be_answered_is_said_with_the_setting_that_would(lake: LakeHandle, tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("2026-11-24 06:32:07.506 UTC [1] LOG:  duration: 1.0 ms  statement: select 1\n" * 3)
    lake.ingest([log])
    write_report(lake, tmp_path / "out", Wanted(EVER, ("slow_queries", "checkpoints", "deadlocks")))
    missing = {(item["query"], item["table"]): item for item in manifest(tmp_path / "out")["missing"]}
    assert set(missing) == {("checkpoints", "checkpoint"), ("deadlocks", "deadlock"), ("deadlocks", "lock_wait")}
    assert missing["checkpoints", "checkpoint"]["needs"] == "log_checkpoints = on"
    assert missing["deadlocks", "deadlock"]["needs"] is None
    write_report(lake, tmp_path / "out", Wanted(window("2027-01-01", None), ("slow_queries",)))
    [item] = manifest(tmp_path / "out")["missing"]
    assert item["reason"] == "table statement has no rows in this window"
    write_report(lake, tmp_path / "out", Wanted(EVER, ("slow_queries",), server="other"))
    assert {item["reason"] for item in manifest(tmp_path / "out")["missing"]} == {
        "table statement has no rows of this server",
        "table query has no rows of this server",
    }


def test_for_every_table_it_is_known_what_fills_it() -> None:
    assert set(described_tables()) <= set(NEEDED)


def test_parameters_reach_one_query_or_all_that_have_them(sample_lake: LakeHandle, tmp_path: Path) -> None:
    settings = {"top": "3", "slow_statements.min_ms": "100"}
    write_report(
        sample_lake, tmp_path / "out", Wanted(EVER, ("slow_queries", "slow_statements", "crashes"), settings=settings)
    )
    entries = {entry["name"]: entry for entry in manifest(tmp_path / "out")["queries"]}
    assert [entries[name]["rows"] for name in ("slow_queries", "slow_statements")] == [3, 3]
    assert entries["slow_statements"]["parameters"]["min_ms"] == "100"
    assert "top" not in entries["crashes"]["parameters"]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (Wanted(EVER, ("slow_querys",)), "did you mean slow_queries"),
        (Wanted(EVER, ("crashes",), settings={"top": 3}), "set top: no query of the report has a parameter 'top'"),
        (Wanted(EVER, ("crashes",), settings={"slow_queries.top": 3}), "the report has no query slow_queries"),
        (Wanted(EVER, ("slow_queries",), settings={"slow_queries.tops": 3}), "no query slow_queries has a parameter"),
        (Wanted(EVER, ("slow_queries",), formats=()), "needs a format"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    sample_lake: LakeHandle, tmp_path: Path, wanted: Wanted, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        write_report(sample_lake, tmp_path / "out", wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_fails_leaves_the_report_as_it_was(sample_lake: LakeHandle, tmp_path: Path) -> None:
    write_report(sample_lake, tmp_path / "out", Wanted(EVER, ("crashes", "statements_by")))
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    wrong = Wanted(EVER, ("crashes", "statements_by"), settings={"by": "colour"})
    with pytest.raises(PgtraceError, match=r"query statements_by: .*application_name"):
        write_report(sample_lake, tmp_path / "out", wrong)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert is_whole(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pgtrace(tmp_path: Path) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgtrace", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)

    return run


def test_the_command_prints_a_line_per_file_and_quiet_none(pgtrace: Run, tmp_path: Path) -> None:
    pgtrace("ingest", LOG)
    asked = ("report", "checkpoints", "crashes", "--out", "out", "--since", "2026-11-24", "--json")
    loud = pgtrace(*asked)
    assert loud.returncode == 0
    rows = {entry["name"]: entry["rows"] for entry in manifest(tmp_path / "out")["queries"]}
    assert loud.stdout.splitlines() == [
        f"out/{name}.{ending}  {rows[name]} rows" for name in ("checkpoints", "crashes") for ending in ("csv", "json")
    ]
    quiet = pgtrace(*asked, "--quiet", "--no-csv")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "checkpoints.json",
        "crashes.json",
        "manifest.json",
    }


WRONG = {
    "no_such_zone": (("--timezone", "Europe/Berln"), "did you mean Europe/Berlin"),
    "no_such_query": (("slow_querys",), "did you mean slow_queries"),
    "no_format": (("--no-csv",), "needs a format"),
    "no_time": (("--since", "lunch"), "'lunch' is not a time"),
    "no_window": (("--since", "today", "--until", "yesterday"), "until 'yesterday' is not after since 'today'"),
    "no_value": (("--set", "top"), "write it as KEY=VALUE"),
    "no_number": (("--set", "top=many"), "top = 'many' is not a BIGINT"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(pgtrace: Run, tmp_path: Path, name: str) -> None:
    arguments, text = WRONG[name]
    result = pgtrace("report", "--out", "out", *arguments)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert text in line
    assert not (tmp_path / "out").exists()
