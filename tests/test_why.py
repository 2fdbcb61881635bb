"""pgtrace why: what was planted in a log is found, at its time and in the right words; else nothing is."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import plantedlog
import polars as pl
import pytest
from conftest import SAMPLES
from typer.testing import CliRunner

import pgtrace
from pgtrace.analysis.effect import measure
from pgtrace.analysis.executions import load
from pgtrace.analysis.finding import prepare
from pgtrace.analysis.kinds import kinds_of, load_events
from pgtrace.api import LakeHandle
from pgtrace.cli.app import app
from pgtrace.errors import UsageError

LOCKED_AT = plantedlog.LOCKED_FROM + timedelta(seconds=4)


def _lake(folder: Path, text: str) -> LakeHandle:
    (folder / "shop.log").write_text(text, newline="\n")
    lake = pgtrace.open(folder / "lake")
    [result] = lake.ingest(folder / "shop.log", server="shop")
    assert (result.status, result.unparsed) == ("read", 0)
    return lake


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """Slow in checkpoints, and nine seconds of waits for a lock."""
    return _lake(tmp_path_factory.mktemp("planted"), plantedlog.planted())


@pytest.fixture(scope="module")
def slow_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """Slow in checkpoints, and else nothing."""
    return _lake(tmp_path_factory.mktemp("checkpoints"), plantedlog.planted(with_lock=False))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """As many checkpoints, which do no harm."""
    return _lake(tmp_path_factory.mktemp("quiet"), plantedlog.planted(1.0, with_lock=False))


@pytest.fixture(scope="module")
def slow50(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """A real log of executions over 50 ms."""
    lake = pgtrace.open(tmp_path_factory.mktemp("slow50") / "lake")
    lake.ingest(SAMPLES / "pg15-slow50", server="pg15-slow50")
    return lake


def why(lake: LakeHandle, *arguments: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pgtrace", "why", "--lake", str(lake.path), *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": encoding})


def page(lake: LakeHandle, *arguments: str) -> str:
    """What is printed, with single blanks; in this process, which is quicker."""
    result = CliRunner().invoke(app, ["why", "--lake", str(lake.path), *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return " ".join(result.stdout.split())


# over a span


def test_what_was_planted_is_named_first(slow_checkpoints: LakeHandle) -> None:
    text = page(slow_checkpoints)
    first, _, _ = text.partition("process: what it did")
    assert "associated with" in first
    assert "checkpoint" in first
    assert "caused" not in text


def test_what_the_server_recorded_is_named_as_recorded(planted: LakeHandle) -> None:
    first, _, _ = page(planted).partition("process: what it did")
    assert "waits for locks, which the server itself recorded" in first
    assert "The server logged 22 waits" in page(planted)


def test_where_nothing_is_found_it_says_so_and_what_would_have_been_seen(quiet: LakeHandle) -> None:
    text = page(quiet)
    assert text.startswith("Nothing that this log tells of goes together with slow executions")
    assert "No effect seen: checkpointer:" in text
    assert "as many slow would have been seen" in text


def test_a_log_that_hides_fast_executions_is_told_with_the_setting_that_would_help(slow50: LakeHandle) -> None:
    text = page(slow50)
    assert "durations below 50 ms are not logged" in text
    assert "log_min_duration_statement" in text


def test_without_executions_there_is_nothing_to_explain(tmp_path: Path) -> None:
    assert page(pgtrace.open(tmp_path / "lake")).startswith("There is no statement with a duration in this span")


def test_rows_for_programs_are_those_of_the_library(slow50: LakeHandle) -> None:
    rows = slow50.why().rows
    as_csv = list(csv.DictReader(io.StringIO(why(slow50, "--format", "csv").stdout.decode())))
    assert list(as_csv[0]) == rows.columns
    assert [row["kind"] for row in as_csv] == rows["kind"].to_list()
    as_json = json.loads(why(slow50, "--format", "json").stdout)
    assert [row["verdict"] for row in as_json] == rows["verdict"].to_list()
    as_parquet = pl.read_parquet(io.BytesIO(why(slow50, "--format", "parquet").stdout))
    assert as_parquet.schema == rows.schema


def test_one_query_has_a_page_of_its_own(planted: LakeHandle) -> None:
    rows = planted.why().rows.filter(pl.col("query_text").str.starts_with("select * from items"))
    text = page(planted, "--fingerprint", rows["fingerprint"][0])
    assert text.startswith("Slow executions of this query are associated with waits for locks")


def test_all_that_was_tested_can_be_listed(planted: LakeHandle) -> None:
    tested = planted.why().rows.height
    assert f" {tested} " in page(planted, "--all")


def test_a_span_leaves_out_what_was_before(planted: LakeHandle) -> None:
    text = page(planted, "--since", "2026-11-24 06:23")
    assert "recorded" not in text


def test_a_terminal_without_the_letters_gets_others(planted: LakeHandle) -> None:
    for arguments in ((), ("--at", f"{LOCKED_AT}")):
        shown = why(planted, *arguments, encoding="ascii")
        assert shown.returncode == 0
        text = shown.stdout.decode("ascii")
        assert "?" not in text
        assert "lock" in text


def test_what_a_statement_holds_is_never_sent_to_the_terminal_as_a_command(planted: LakeHandle) -> None:
    for arguments in ((), ("--all",), ("--at", f"{LOCKED_AT}"), ("--statement", f"501@{LOCKED_AT}")):
        assert "\x1b" not in page(planted, *arguments)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--fingerprint", "nosuch"), "no query has the fingerprint 'nosuch'"),
        (("--since", "lunch"), "'lunch' is not a time"),
        (("--at", "lunch"), "'lunch' is not a time"),
        (("--at", "now", "--since", "-1d"), "--at and --since do not go together"),
        (("--statement", "1:1", "--at", "now"), "--statement and --at do not go together"),
        (("--statement", "whatever"), "'whatever' is no statement: write FILE:LINE"),
        (("--statement", "shop.log:999999"), "no execution with a duration is logged at 'shop.log:999999'"),
        (("--statement", "501@lunch"), "'lunch' is not a time"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(
    planted: LakeHandle, arguments: tuple[str, ...], complaint: str
) -> None:
    result = why(planted, *arguments)
    assert result.returncode == 2
    [line] = result.stderr.decode().splitlines()
    assert complaint in line


# one episode


def test_the_episode_is_found_with_its_time_and_its_reason(planted: LakeHandle) -> None:
    episode = planted.why_at(LOCKED_AT)
    assert episode is not None
    assert abs(episode.started_at - plantedlog.LOCKED_FROM) <= timedelta(seconds=4)
    assert episode.ended_at <= plantedlog.LOCKED_FROM + timedelta(seconds=plantedlog.LOCKED_S + 4)
    best = episode.explanations.row(0, named=True)
    assert (best["kind"], best["certainty"], best["log_verdict"]) == ("lock wait", "recorded by the server", "recorded")
    # checkpoints are slow, too, but none went on then
    assert "checkpointer" not in episode.explanations["process"]
    assert episode.queries["query_text"][0] == "select * from items where id = $1"


def test_an_episode_says_what_was_different(planted: LakeHandle) -> None:
    episode = planted.why_at(LOCKED_AT)
    assert episode is not None
    waiting = episode.differences.filter(topic="locks").row(0, named=True)
    assert waiting["before"] == 0
    assert waiting["during"] > 5
    text = page(planted, "--at", f"{LOCKED_AT}")
    assert text.startswith("shop: queries were slow from 2026-11-24 06:2")
    assert "lock table items in access exclusive mode" in text  # new, and not seen before


def test_the_nearest_episode_is_told_as_such(planted: LakeHandle) -> None:
    assert "itself it was not slow" in page(planted, "--at", f"{LOCKED_AT + timedelta(minutes=6)}")


def test_no_episode_is_no_error(planted: LakeHandle, quiet: LakeHandle) -> None:
    assert "No slow episode within 15 minutes" in page(quiet, "--at", f"{LOCKED_AT}")
    assert "No slow episode within 15 minutes" in page(planted, "--at", "2026-12-24 06:00")
    assert json.loads(why(quiet, "--at", f"{LOCKED_AT}", "--format", "json").stdout) is None
    assert why(quiet, "--at", f"{LOCKED_AT}", "--format", "csv").stdout.startswith(b"rank,process,kind")


def test_an_episode_for_programs(planted: LakeHandle) -> None:
    parts = json.loads(why(planted, "--at", f"{LOCKED_AT}", "--format", "json").stdout)
    assert parts["explanations"][0]["kind"] == "lock wait"
    assert {"queries", "differences", "timeline", "started_at", "score"} <= set(parts)
    [row, *_] = csv.DictReader(io.StringIO(why(planted, "--at", f"{LOCKED_AT}", "--format", "csv").stdout.decode()))
    assert row["kind"] == "lock wait"


def test_no_episode_is_found_where_none_was_planted(quiet: LakeHandle) -> None:
    assert quiet.query("episodes").pl().is_empty()


# one statement


def _second_waiter(lake: LakeHandle) -> dict[str, Any]:
    rows = lake.query("slow_statements").pl().filter(pid=plantedlog.SECOND)
    row: dict[str, Any] = rows.row(0, named=True)
    return row


def test_the_lock_chain_of_a_statement_goes_to_its_root(planted: LakeHandle) -> None:
    row = _second_waiter(planted)
    found = planted.why_statement(f"{row['source_id']}:{row['line_no']}")
    chain = found.chain.select("depth", "pid", "did_before", "did_then", "did_after").rows()
    assert chain[0][:2] == (0, plantedlog.SECOND)
    assert chain[1][:2] == (1, plantedlog.FIRST)
    assert chain[1][3] == "select * from items where id = $1"
    assert chain[2] == (2, plantedlog.HOLDER, "lock table items in access exclusive mode", None, "commit")
    assert found.usual["faster_pct"] > 99


def test_a_statement_can_be_pointed_at_in_several_ways(planted: LakeHandle) -> None:
    row = _second_waiter(planted)
    for which in (f"{row['source_id'][:8]}:{row['line_no']}", f"shop.log:{row['line_no']}", f"903@{LOCKED_AT}"):
        assert planted.why_statement(which).statement["line_no"] == row["line_no"]


def test_a_line_of_a_session_is_a_statement_too(slow50: LakeHandle, sample_lake: LakeHandle) -> None:
    logged = sample_lake.sql(
        "select statement.server, record.session_id, session_line_no, statement.line_no from statement "
        "join record using (server, source_id, line_no) where session_line_no is not null and duration_ms > 1 "
        "order by all limit 1"
    ).pl()
    server, session, number, line = logged.row(0)
    assert sample_lake.why_statement(f"{session}/{number}", server=server).statement["line_no"] == line


def test_a_file_name_that_several_files_have_is_refused(sample_lake: LakeHandle) -> None:
    with pytest.raises(UsageError, match=r"is \d executions: "):
        sample_lake.why_statement("postgresql.log:1883")


def test_processes_that_wait_for_each_other_do_not_make_an_endless_chain(tmp_path: Path) -> None:
    text = ""
    for pid, other in ((11, 12), (12, 11)):
        head = f"2026-11-24 06:00:0{pid - 10}.500 UTC [{pid}] "
        text += f"{head}LOG:  process {pid} still waiting for ShareLock on transaction {other} after 1000.000 ms\n"
        text += f"{head}DETAIL:  Process holding the lock: {other}. Wait queue: {pid}.\n"
        text += f"{head}STATEMENT:  update t set n = {pid}\n"
    for pid, other in ((11, 12), (12, 11)):
        head = f"2026-11-24 06:00:09.{pid}0 UTC [{pid}] "
        text += f"{head}LOG:  process {pid} acquired ShareLock on transaction {other} after {8000 - 10 * pid}.000 ms\n"
        text += f"{head}LOG:  duration: 8500.000 ms  statement: update t set n = {pid}\n"
    lake = _lake(tmp_path, text)
    chain = lake.why_statement("11@2026-11-24 06:00:05").chain
    assert chain.select("depth", "pid", "is_cycle").rows() == [(0, 11, False), (1, 12, False), (2, 11, True)]
    assert "which waits in this chain itself" in page(lake, "--statement", "11@2026-11-24 06:00:05")


def test_a_plan_and_what_went_on_meanwhile_are_shown(sample_lake: LakeHandle) -> None:
    row = sample_lake.sql(
        "select source_id, line_no from statement join plan using (server, source_id, line_no) "
        "order by statement.duration_ms desc limit 1"
    ).pl()
    source, line = row.row(0)
    text = page(sample_lake, "--statement", f"{source}:{line}")
    assert "Its plan:" in text
    assert "cost=" in text


# the same in SQL


@pytest.mark.parametrize("planted_times", [4.0, 1.0])
def test_the_ratios_in_sql_are_those_of_the_analysis(
    planted_times: float, slow_checkpoints: LakeHandle, quiet: LakeHandle
) -> None:
    """But for durations that the query reads to within 0.5 %, which moves what is called slow a little."""
    lake = slow_checkpoints if planted_times > 1 else quiet
    executions = load(lake.connection, "shop", None, None)
    assert executions is not None
    events = load_events(lake.connection, "shop", None, None)
    in_sql = {(row["kind"], row["fingerprint"]): row for row in lake.query("causes").pl().iter_rows(named=True)}
    kinds = kinds_of(events, executions, {})
    assert {kind.kind for kind in kinds} >= {"checkpoint", "checkpoint write", "since redo"}
    compared = 0
    for kind in kinds:
        setting = prepare(executions, kind)
        for number, fingerprint in enumerate([None, *executions.shapes["fingerprint"]]):
            counts = executions.counts(setting.thresholds, number - 1 if number else setting.shapes)
            controls = setting.controls(kind.train, executions.grid.bins)
            effect = measure(counts, kind.train, controls, with_p=False)
            row = in_sql[kind.kind, fingerprint]
            assert row["events"] == effect.events
            # of a single query, two executions more or less that are slow outside are a tenth of them
            assert row["slow_ratio"] == pytest.approx(effect.ratio, rel=0.12 if number else 0.06)
            assert row["slow_ratio_low"] == pytest.approx(effect.low, rel=0.15)
            assert row["slow_inside"] == pytest.approx(effect.slow_in, rel=0.1, abs=2)
            assert row["excess_s"] == pytest.approx(effect.excess_s, rel=0.05, abs=0.02)
            compared += 1
    assert compared == len(in_sql)
