"""pgtrace run: one command that reads, writes, removes what is old, and is silent while all is well."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from test_report import is_whole, manifest

LOG = SAMPLES / "pg15-mixed" / "postgresql.log"
Run = Callable[..., subprocess.CompletedProcess[str]]
SETUP = """
[[source]]
server = "db1"
paths = "logs/*.log"

[[report]]
name = "daily"
queries = ["crashes", "checkpoints"]
since = "-1d"
until = "today"
out = "reports/{since}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with one real log, in a folder of its own."""
    (tmp_path / "etc" / "logs").mkdir(parents=True)
    shutil.copy(LOG, tmp_path / "etc" / "logs")
    (tmp_path / "etc" / "pgtrace.toml").write_text(SETUP)
    return tmp_path / "etc"


@pytest.fixture
def pgtrace(folder: Path) -> Run:
    """Run a command somewhere else than where the configuration is."""

    def run(*arguments: str, toml: str | None = None) -> subprocess.CompletedProcess[str]:
        if toml is not None:
            (folder / "pgtrace.toml").write_text(toml)
        command = [sys.executable, "-m", "pgtrace", "run", "etc/pgtrace.toml", *arguments]
        return subprocess.run(command, cwd=folder.parent, capture_output=True, check=False, text=True)

    return run


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print(flush=True)
    time.sleep(60)
"""


#: a run that waits for its standard input before it ends
WAITING = """
import sys
from pgtrace import cli, scheduled
def waiting(*arguments, last=scheduled._keep_up):
    print(flush=True)
    sys.stdin.read()
    last(*arguments)
scheduled._keep_up = waiting
cli.main()
"""


def under(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the time of its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_reads_writes_and_says_so_in_a_line(pgtrace: Run, folder: Path) -> None:
    done = pgtrace("--as-of", "2026-11-25T06:15")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert line.startswith("read 1 of 1 file (")
    assert ", wrote 1 report, 0 problems; " in line
    out = folder / "reports" / "2026-11-24"
    assert is_whole(out)
    assert [entry["name"] for entry in manifest(out)["queries"]] == ["crashes", "checkpoints"]
    assert manifest(out)["name"] == "daily"
    assert manifest(out)["data"]["servers"] == ["db1"]
    assert manifest(out)["window"]["since"] == "2026-11-24T00:00:00.000000Z"
    assert manifest(out)["queries"][1]["rows"] > 0
    assert sorted(path.name for path in folder.iterdir()) == ["lake", "logs", "pgtrace.toml", "reports"]


def test_nothing_new_is_no_error_and_quiet_is_silent(pgtrace: Run, folder: Path) -> None:
    pgtrace()
    (folder / "logs" / LOG.name).unlink()  # a rotation took the last file, its folder is there
    done = pgtrace("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = pgtrace()
    assert told.returncode == 0
    assert "etc/logs/*.log: no file has a name like that now" in told.stderr
    assert told.stdout.startswith("read 0 of 0 files (0 new lines, 0 unparsed), wrote 1 report, 0 problems; ")


def test_verbose_names_each_source_and_file(pgtrace: Run, folder: Path) -> None:
    lines = pgtrace("--verbose", "--as-of", "2026-11-25").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["read", "wrote", "wrote", "read"]
    assert lines[0].endswith(" new lines as server db1")
    assert f"{folder}/reports/2026-11-24/crashes.csv" in lines[1]


def test_a_folder_of_logs_that_is_gone_is_told_and_the_rest_is_done(pgtrace: Run, folder: Path) -> None:
    more = '[[source]]\nserver = "db2"\npaths = ["gone/*.log", "logs/other.log"]\n'
    done = pgtrace("--quiet", "--as-of", "2026-11-25", toml=more + SETUP)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"pgtrace: {folder}/gone/*.log: there is no folder {folder}/gone",
        f"pgtrace: {folder}/logs/other.log: no such file or folder",
    ]
    assert manifest(folder / "reports" / "2026-11-24")["queries"][1]["rows"] > 0


def test_a_source_that_cannot_be_read_keeps_nothing_else_from_being_done(pgtrace: Run, folder: Path) -> None:
    (folder / "logs" / "bad.log").write_bytes(b"\x1f\x8b\x08\0not gzip")
    other = folder / "other.gz"
    other.write_bytes(gzip.compress(LOG.read_bytes()))
    wrong = f'[[source]]\nserver = "db2"\npaths = "{other}"\nprefix = "%m <%p> "\n'
    done = pgtrace("--quiet", "--as-of", "2026-11-25", toml=wrong + SETUP)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "bad.log" in done.stderr
    assert "reads none of its lines" in done.stderr
    assert manifest(folder / "reports" / "2026-11-24")["queries"][1]["rows"] > 0


def test_a_report_that_fails_keeps_no_other_from_being_written(pgtrace: Run, folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    done = pgtrace("--quiet", toml='[[report]]\nname = "first"\nqueries = "crashes"\nout = "mine"\n' + SETUP)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"pgtrace: report first: {folder}/mine: holds files and no report of pgtrace")
    assert len(list((folder / "reports").iterdir())) == 1


def test_a_dry_run_tells_and_touches_nothing(pgtrace: Run, folder: Path) -> None:
    toml = SETUP + "keep = 1\n[retention]\nkeep_days = 30\ncompact = true\n"
    before = under(folder)
    done = pgtrace("--dry-run", "--as-of", "2026-11-25", toml=toml)
    assert done.returncode == 0
    after = under(folder)
    assert set(after) == set(before)
    assert {path for path in after if after[path] != before[path]} == {"pgtrace.toml"}
    assert done.stdout.splitlines() == [
        f"lake     {folder}/lake",
        f"read     {folder}/logs/*.log as server db1: 1 file, 0.7 MB, what is new in them",
        f"write    {folder}/reports/2026-11-24: 2 queries, csv; 2026-11-24 00:00 to 2026-11-25 00:00 UTC",
        "prune    days before 2026-10-26",
        "compact  the small files of each day",
    ]
    pgtrace("--as-of", "2026-11-24")
    before = under(folder)
    assert f"remove   {folder}/reports/2026-11-23" in pgtrace("--dry-run", "--as-of", "2026-11-25").stdout
    assert under(folder) == before


def test_a_second_run_says_so_in_one_line_and_the_lock_dies_with_its_process(pgtrace: Run, folder: Path) -> None:
    pgtrace()
    command = [sys.executable, "-c", HOLDER, str(folder / "lake" / "run.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = pgtrace("--quiet")
        first.send_signal(signal.SIGKILL)
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert line == f"pgtrace: another run is at work on {folder}/lake; nothing was done"
    assert pgtrace("--quiet").returncode == 0


def test_of_two_runs_at_once_one_works_and_names_itself_to_the_other(pgtrace: Run, folder: Path) -> None:
    command = [sys.executable, "-c", WAITING, "run", str(folder / "pgtrace.toml"), "--as-of", "2026-11-25"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = pgtrace("--as-of", "2026-11-25")
        _, told = first.communicate()
    assert second.returncode == 1
    assert f"(process {first.pid}, since " in second.stderr
    assert (first.returncode, told) == (0, "")
    assert len(list((folder / "reports").iterdir())) == 1


def test_old_reports_go_and_nothing_else(pgtrace: Run, folder: Path) -> None:
    reports = folder / "reports"
    for name in ("2026-10-01", "notes"):  # not made by pgtrace, or a report with something added
        (reports / name).mkdir(parents=True)
        (reports / name / "x.csv").write_text("mine")
    for day in (21, 22, 23, 24):
        assert pgtrace("--as-of", f"2026-11-{day + 1}").returncode == 0
    (reports / "2026-11-21" / "added.txt").write_text("mine")
    done = pgtrace("--as-of", "2026-11-26", toml=SETUP + "keep = 2\n")
    assert done.returncode == 1
    assert "2026-11-21: holds added.txt, which is not of the report" in done.stderr
    assert "removed 2 old reports" in done.stdout
    assert sorted(path.name for path in reports.iterdir()) == [
        "2026-10-01",
        "2026-11-21",
        "2026-11-24",
        "2026-11-25",
        "notes",
    ]
    other = SETUP.replace('"daily"', '"other"') + "keep_days = 1\n"
    assert "removed" not in pgtrace("--as-of", "2026-12-26", toml=other).stdout, "those are of another report"


def test_the_lake_is_pruned_after_the_reports_were_made(pgtrace: Run, folder: Path) -> None:
    toml = SETUP.replace('since = "-1d"\nuntil = "today"\n', 'since = "2026-11-24"\n') + "[retention]\nkeep_days = 7\n"
    done = pgtrace("--as-of", "2027-01-01", toml=toml)
    assert "pruned " in done.stdout
    assert manifest(folder / "reports" / "2026-11-24")["queries"][1]["rows"] > 0
    assert pgtrace("--as-of", "2027-01-01").returncode == 0
    assert manifest(folder / "reports" / "2026-11-24")["queries"][1]["rows"] == 0


def test_a_run_that_is_killed_is_made_up_for_by_the_next(pgtrace: Run, folder: Path) -> None:
    command = [sys.executable, "-m", "pgtrace", "run", str(folder / "pgtrace.toml"), "--as-of", "2026-11-25"]
    for wait in (0.6, 0.9, 1.2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
            try:
                first.wait(wait)
            except subprocess.TimeoutExpired:
                first.kill()
    assert pgtrace("--as-of", "2026-11-25").returncode == 0
    assert is_whole(folder / "reports" / "2026-11-24")
    audit = [sys.executable, "-m", "pgtrace", "audit", "--lake", str(folder / "lake")]
    assert subprocess.run(audit, capture_output=True, check=False).returncode == 0


def test_the_example_of_the_page_runs_on_the_sample_logs(pgtrace: Run, folder: Path) -> None:
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    (folder / "sample_logs").symlink_to(SAMPLES)
    done = pgtrace("--as-of", "2026-11-25T06:15+01:00", toml=example)
    assert done.returncode == 0, done.stderr
    daily = manifest(folder / "reports" / "2026-11-24")
    assert daily["window"]["since"] == "2026-11-23T23:00:00.000000Z"
    assert daily["data"]["servers"] == ["db1", "db2"]
    assert {json.dumps(entry["parameters"].get("top")) for entry in daily["queries"]} == {'"100"', '"20"', "null"}
    assert is_whole(folder / "reports" / "latest")
