"""A report appears whole: killed at any moment, and while others read it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import SAMPLES
from test_report import EVER, is_whole, manifest

import pgtrace
from pgtrace.api import LakeHandle
from pgtrace.errors import PgtraceError
from pgtrace.report import Wanted, write_report
from pgtrace.report.files import put_in_place

CHILD = Path(__file__).parent / "data" / "killed_report.py"
OLD, NEW = ("crashes", "checkpoints"), ("checkpoints", "slow_queries", "lock_waits")


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    lake = pgtrace.open(tmp_path_factory.mktemp("small") / "lake")
    lake.ingest([SAMPLES / "pg15-mixed" / "postgresql.log"])
    return lake


def answered(out: Path) -> tuple[str, ...]:
    return tuple(entry["name"] for entry in manifest(out)["queries"])


def child(lake: LakeHandle, out: Path, number: int) -> list[str]:
    return [sys.executable, "-W", "ignore", str(CHILD), str(lake.path), str(out), str(number), *NEW]


def test_the_moments_are_those_that_the_tests_below_count(small_lake: LakeHandle, tmp_path: Path) -> None:
    done = subprocess.run(child(small_lake, tmp_path / "out", 0), capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [*["query written"] * len(NEW), "staged", "in place"]


@pytest.mark.parametrize("number", [1, 3, 4, 5, -4, -6])
def test_killed_the_report_is_the_old_one_or_the_new_one(small_lake: LakeHandle, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    write_report(small_lake, out, Wanted(EVER, OLD))
    killed = subprocess.run(child(small_lake, out, number), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert is_whole(out)
    assert answered(out) == (NEW if abs(number) > 4 else OLD)
    write_report(small_lake, out, Wanted(EVER, OLD))
    assert answered(out) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "what the killed run left is cleared by the next"


def test_killed_while_there_is_none_where_folders_cannot_be_exchanged(small_lake: LakeHandle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report(small_lake, out, Wanted(EVER, OLD))
    killed = subprocess.run(child(small_lake, out, -5), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    wrong = Wanted(EVER, ("statements_by",), settings={"by": "colour"})
    with pytest.raises(PgtraceError):
        write_report(small_lake, out, wrong)  # any next run puts the old one back, also one that fails
    assert is_whole(out)
    assert answered(out) == OLD


@pytest.mark.parametrize("tenths", [5, 8, 10, 12, 14, 16])
def test_killed_at_any_time(small_lake: LakeHandle, tmp_path: Path, tenths: int) -> None:
    out = tmp_path / "out"
    write_report(small_lake, out, Wanted(EVER, OLD))
    with subprocess.Popen(child(small_lake, out, 1000)) as process:
        time.sleep(tenths / 10)
        process.kill()
    assert is_whole(out)
    assert answered(out) in (OLD, NEW)


def test_a_first_report_that_is_killed_leaves_no_folder(small_lake: LakeHandle, tmp_path: Path) -> None:
    subprocess.run(child(small_lake, tmp_path / "out", 4), check=False)
    assert not (tmp_path / "out").exists()


def test_who_reads_while_reports_are_replaced_sees_whole_ones(small_lake: LakeHandle, tmp_path: Path) -> None:
    """A reader that finds the same manifest before and after it read the files has read one report."""
    out = tmp_path / "out"
    write_report(small_lake, out, Wanted(EVER, OLD))
    ended = threading.Event()
    seen: list[bool] = []

    def read() -> None:
        while not ended.is_set():
            before = manifest(out)  # there is one at every moment
            try:
                whole = is_whole(out)
            except FileNotFoundError:
                whole = False
            if before == manifest(out):
                seen.append(whole)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(20):
            write_report(small_lake, out, Wanted(EVER, (NEW, OLD)[turn % 2]))
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 20
    assert all(seen)


def test_two_at_once_both_succeed_and_one_report_is_there(small_lake: LakeHandle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [subprocess.Popen(child(small_lake, out, 1000)) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert is_whole(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_anything_else_in_it_is_not_replaced(small_lake: LakeHandle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(PgtraceError, match="holds files and no report of pgtrace"):
        write_report(small_lake, out, Wanted(EVER, OLD))
    (out / "notes.txt").unlink()
    write_report(small_lake, out, Wanted(EVER, OLD))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(PgtraceError, match=r"holds notes\.txt, which is not of the report"):
        write_report(small_lake, out, Wanted(EVER, NEW))
    assert (out / "notes.txt").read_text() == "mine"
    assert answered(out) == OLD


def test_a_file_in_the_way_is_named(small_lake: LakeHandle, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(PgtraceError, match="is a file, and the report is a folder"):
        write_report(small_lake, tmp_path / "out", Wanted(EVER, OLD))


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write anywhere")
def test_where_nothing_can_be_written_a_line_says_what_is_needed(small_lake: LakeHandle, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    command = [sys.executable, "-m", "pgtrace", "report", "crashes", "--lake", str(small_lake.path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *command]
    done = subprocess.run([*command, "--out", str(closed / "out")], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{closed} must be writable" in line


def test_a_link_and_the_rights_of_the_folder_stay(small_lake: LakeHandle, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "reports"
    real.mkdir(parents=True)
    real.chmod(0o2750)
    (tmp_path / "out").symlink_to(real)
    write_report(small_lake, tmp_path / "out", Wanted(EVER, OLD))
    write_report(small_lake, tmp_path / "out", Wanted(EVER, NEW))
    assert (tmp_path / "out").is_symlink()
    assert answered(real) == NEW
    assert stat.S_IMODE(real.stat().st_mode) == 0o2750


def test_in_two_steps_the_new_folder_is_there_and_the_old_one_gone(tmp_path: Path) -> None:
    for name in ("out", ".out.01234567.pgtrace-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    put_in_place(tmp_path / ".out.01234567.pgtrace-new", tmp_path / "out", exchange=lambda one, other: False)
    assert [(path.name, (path / "x").read_text()) for path in tmp_path.iterdir()] == [
        ("out", ".out.01234567.pgtrace-new")
    ]
