"""An ingest of real logs that is killed, or whose disk is full, and done again ends up as if nothing had happened."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from conftest import SAMPLES

import pgtrace
from pgtrace.api import LakeHandle
from pgtrace.ingest.reporter import Silent
from pgtrace.registry import tables

LOGS = sorted((SAMPLES / "pg16-mixed").glob("postgresql-*.log"))
CHILD = Path(__file__).parent / "data" / "killed_ingest.py"
#: a day after the logs
LATER = "2026-11-25"
Contents = dict[str, pl.DataFrame]


def contents(lake: LakeHandle) -> Contents:
    """Every table; of ``source`` without the time of reading, of ``query`` without the text that was met first."""
    chosen = dict.fromkeys(tables(), "*")
    chosen["source"] = "* exclude (ingested_at)"
    chosen["query"] = "server, fingerprint, verb, relations_read, relations_written, is_parsed"
    return {table: lake.sql(f'select {what} from "{table}" order by all').pl() for table, what in chosen.items()}


def assert_as_if_undisturbed(path: Path, expected: Contents) -> None:
    lake = pgtrace.open(path)
    found = contents(lake)
    assert [table for table in expected if not found[table].equals(expected[table])] == []
    sums, problems = lake.audit()
    assert problems == []
    assert sums["meets"].all()
    assert not list(path.glob("staging/*"))


def child(
    lake: Path, action: str, step: str, number: int, limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Another process at work on the lake; it dies as asked, or may write files of at most ``limit`` bytes."""
    logs = map(str, LOGS if action == "ingest" else ())
    command = [sys.executable, "-W", "ignore", str(CHILD), str(lake), action, step, str(number), *logs]
    shrink: Callable[[], None] | None = None
    if limit is not None:

        def shrink() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=shrink)


def killed(lake: Path, action: str, step: str, number: int) -> None:
    result = child(lake, action, step, number)
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The logs read in one go."""
    lake = pgtrace.open(tmp_path_factory.mktemp("whole") / "lake")
    lake.ingest(LOGS)
    return contents(lake)


@pytest.fixture(scope="module")
def in_many_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the logs, read in many batches by another process that was not killed."""
    path = tmp_path_factory.mktemp("parts") / "lake"
    assert child(path, "ingest", "any", 0).returncode == 0
    return path


def test_logs_read_in_many_batches_give_the_same_rows(in_many_parts: Path, whole: Contents) -> None:
    assert len(list((in_many_parts / "tables" / "record").rglob("*.parquet"))) > 8
    assert_as_if_undisturbed(in_many_parts, whole)


MOMENTS = [
    *(("wrote part", number) for number in (1, 70)),
    *(("staged", number) for number in (4,)),
    *(("recorded", number) for number in (1, 5, 9)),
    *(("moved part", number) for number in (1, 71)),
    *(("in place", number) for number in (6,)),
]


@pytest.mark.parametrize(("step", "number"), MOMENTS)
def test_an_ingest_killed_and_done_again(tmp_path: Path, whole: Contents, step: str, number: int) -> None:
    killed(tmp_path / "lake", "ingest", step, number)
    pgtrace.open(tmp_path / "lake").ingest(LOGS)
    assert_as_if_undisturbed(tmp_path / "lake", whole)


def test_an_ingest_killed_twice_in_a_row(tmp_path: Path, whole: Contents) -> None:
    for step, number in (("recorded", 3), ("moved part", 5)):
        killed(tmp_path / "lake", "ingest", step, number)
    pgtrace.open(tmp_path / "lake").ingest(LOGS)
    assert_as_if_undisturbed(tmp_path / "lake", whole)


UPKEEP = [("staged", 1), ("recorded", 2), ("moved part", 3)]


@pytest.mark.parametrize(("step", "number"), UPKEEP)
def test_a_compaction_killed_loses_and_doubles_nothing(
    tmp_path: Path, in_many_parts: Path, whole: Contents, step: str, number: int
) -> None:
    path = shutil.copytree(in_many_parts, tmp_path / "lake")
    killed(path, "compact", step, number)
    lake = pgtrace.open(path)
    assert {result.status for result in lake.ingest(LOGS)} == {"skipped"}
    assert_as_if_undisturbed(path, whole)
    lake.compact()
    assert_as_if_undisturbed(path, whole)


@pytest.mark.parametrize("step", ["recorded", "in place"])
def test_days_whose_removal_was_killed_are_gone(tmp_path: Path, in_many_parts: Path, step: str) -> None:
    path = shutil.copytree(in_many_parts, tmp_path / "lake")
    killed(path, LATER, step, 1)
    lake = pgtrace.open(path)
    assert {result.status for result in lake.ingest(LOGS)} == {"skipped"}
    assert lake.sql("select count(*) from record").fetchall() == [(0,)]
    sums, problems = lake.audit()
    assert problems == []
    assert sums["meets"].all()


@pytest.mark.parametrize("limit", [2_000, 40_000])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, whole: Contents, limit: int) -> None:
    """Where parts do not fit, and where the ledger does not."""
    lake = pgtrace.open(tmp_path / "lake")
    result = child(lake.path, "ingest", "any", 0, limit)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("pgtrace.errors.LakeError: ")
    assert lake.audit()[1] == []
    lake.ingest(LOGS)
    assert_as_if_undisturbed(lake.path, whole)


def test_a_disk_that_was_full_for_a_moment_doubles_nothing(tmp_path: Path, whole: Contents) -> None:
    """Of the chunk at hand some tables were written by then; the disk would take a commit of them."""
    result = child(tmp_path / "lake", "ingest", "wrote part", -60)
    assert result.returncode == 1
    pgtrace.open(tmp_path / "lake").ingest(LOGS)
    assert_as_if_undisturbed(tmp_path / "lake", whole)


FORKS = """
import os, signal, sys, time, pgtrace.lake, pgtrace.registry
with pgtrace.lake.Lake(pgtrace.open(sys.argv[1]).path, pgtrace.registry.tables()).writer():
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
    print(worker, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_outlives_its_writer_does_not_lock_the_lake(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path / "lake")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        worker = int(writer.stdout.readline())
        writer.wait()
        try:
            [result] = pgtrace.open(tmp_path / "lake").ingest(LOGS[:1], reporter=_Impatient())
        finally:
            os.kill(worker, signal.SIGKILL)
    assert result.status == "read"


class _Impatient(Silent):
    """Does not wait for another writer."""

    def message(self, text: str) -> None:
        raise TimeoutError(text)
