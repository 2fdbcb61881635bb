"""pgtrace doctor: the four questions on logs in which it is known what happened, memory, pooling and settings."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from made_log import MadeLog, steady

import pgtrace
from pgtrace.api import LakeHandle
from pgtrace.doctor import Diagnosis, examine
from pgtrace.doctor.asjson import diagnoses_json
from pgtrace.doctor.snapshotfile import read_snapshot
from pgtrace.doctor.spikes import Bins, find_spikes
from pgtrace.errors import UsageError

SECONDS = 240
QUESTIONS = ("high_cpu", "disk_io_spiked", "replication_lagging", "suddenly_slow")
SORT = "select * from big order by note"


class Server(MadeLog):
    """A quiet server: steady statements, two sessions, a checkpoint now and then, one small temporary file."""

    def __init__(self, shortest_ms: float = 0.0) -> None:
        super().__init__()
        rng = np.random.default_rng(7)
        starts, durations = steady(rng, SECONDS, 40, 2.0)
        kept = durations >= shortest_ms
        self.statements(starts[kept], durations[kept], "select balance from accounts where id = 1")
        self.say(0, 'temporary file: path "base/pgsql_tmp/pgsql_tmp100.0", size 8192', 100)
        for start in (20.0, 110.0, 200.0):
            self.checkpoint(start, start + 20)
        for pid in (100, 101):
            self.session(0.5, SECONDS - 1.0, pid)

    def session(self, start: float, end: float, pid: int) -> None:
        """A session, from its connection to its end."""
        length = end - start
        self.say(start - 0.002, "connection received: host=10.0.0.1 port=5000", pid)
        self.say(start, "connection authorized: user=app database=shop", pid)
        clock = f"0:{int(length) // 60:02d}:{length % 60:06.3f}"
        self.say(end, f"disconnection: session time: {clock} user=app database=shop host=10.0.0.1 port=5000", pid)

    def spills(self) -> None:
        """Four processes sort on disk for half a minute, 20 MB every two seconds each."""
        for pid in range(200, 204):
            for start in np.arange(100, 130, 2.0):
                self.say(start + 1.9, f'temporary file: path "base/pgsql_tmp/pgsql_tmp{pid}.1", size 20971520', pid)
                self.say(start + 1.95, f"duration: 1950.000 ms  statement: {SORT}", pid)

    def slow_sync(self) -> None:
        """A checkpoint in which the disk does not answer."""
        self.say(150, "checkpoint starting: time", 2)
        self.say(
            160,
            "checkpoint complete: wrote 100 buffers (0.6%); 0 WAL file(s) added, 0 removed, 0 recycled; write=1.000 s, "
            "sync=9.000 s, total=10.000 s; sync files=3, longest=4.200 s, average=3.000 s; distance=100 kB, "
            "estimate=100 kB",
            2,
        )

    def vacuums(self) -> None:
        """Autovacuum keeps a processor busy for 40 s."""
        for start in np.arange(80, 120, 5.0):
            self.say(
                start + 5,
                'automatic vacuum of table "shop.public.hot": index scans: 3\n'
                "\tpages: 0 removed, 40000 remain, 40000 scanned (100.00% of total)\n"
                "\ttuples: 90000 removed, 100000 remain, 0 are dead but not yet removable\n"
                "\tavg read rate: 60.000 MB/s, avg write rate: 50.000 MB/s\n"
                "\tbuffer usage: 90000 hits, 38400 misses, 32000 dirtied\n"
                "\tsystem usage: CPU: user: 4.00 s, system: 0.90 s, elapsed: 5.00 s",
                9,
            )

    def churn(self) -> None:
        """For 30 s two hundred connections a second."""
        for number in range(6000):
            start = 100 + number / 200
            self.session(start, start + 0.01, 1000 + number)

    def storms(self) -> None:
        """Checkpoints follow each other, as max_wal_size is too small."""
        for start in range(60, 200, 7):
            self.say(start, "checkpoints are occurring too frequently (7 seconds apart)", 2)
            self.say(start + 0.001, "checkpoint starting: wal", 2)
            self.say(
                start + 3,
                "checkpoint complete: wrote 15000 buffers (91.6%); 0 WAL file(s) added, 0 removed, 4 recycled; "
                "write=2.900 s, sync=0.010 s, total=3.000 s; sync files=9, longest=0.005 s, average=0.001 s; "
                "distance=65536 kB, estimate=65536 kB",
                2,
            )

    def replica(self) -> None:
        """A standby that does not answer."""
        self.say(90, "terminating walsender process due to replication timeout", 77)


def diagnosed(log: MadeLog, tmp_path: Path, **options: Any) -> Diagnosis:
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest([log.write(tmp_path / "postgresql.log")], server="db")
    [found] = examine(lake, **options)
    return found


def verdicts(diagnosis: Diagnosis) -> dict[str, str]:
    return {answer.key: answer.verdict for answer in diagnosis.answers}


def test_a_quiet_server_is_left_in_peace(tmp_path: Path) -> None:
    found = diagnosed(Server(), tmp_path)
    assert verdicts(found) == dict.fromkeys(QUESTIONS, "no")
    assert (found.is_wrong, found.advice, found.notes, found.pooling.verdict) == (False, (), (), "no")


@pytest.mark.parametrize(
    ("what", "question", "process", "kind", "basis"),
    [
        ("spills", "disk_io_spiked", "backend", "temporary files", "measured"),
        ("spills", "high_cpu", "backend", "heavy query", "inferred"),
        ("slow_sync", "disk_io_spiked", "checkpointer", "fsync", "measured"),
        ("vacuums", "high_cpu", "autovacuum worker", "vacuum", "measured"),
        ("vacuums", "disk_io_spiked", "autovacuum worker", "vacuum", "measured"),
        ("churn", "high_cpu", "postmaster", "connections", "inferred"),
        ("storms", "disk_io_spiked", "checkpointer", "checkpoint", "measured"),
        ("replica", "replication_lagging", "walsender", "sender timeout", "measured"),
    ],
)
def test_what_happened_is_found_and_its_process_named(
    what: str, question: str, process: str, kind: str, basis: str, tmp_path: Path
) -> None:
    log = Server()
    getattr(log, what)()
    answers = {answer.key: answer for answer in diagnosed(log, tmp_path).answers}
    answer = answers[question]
    assert (answer.verdict, answer.process, answer.kind, answer.basis) == ("yes", process, kind, basis)
    assert answer.evidence
    assert answer.next_step


def test_slow_queries_are_told_of_with_the_time_and_the_next_step(tmp_path: Path) -> None:
    """Half a minute of executions ten times as long, with nothing logged that could be blamed."""
    log = Server()
    starts = np.arange(100, 130, 0.05)
    log.statements(starts, np.full(len(starts), 90.0), "select balance from accounts where id = 1", 300)
    answer = diagnosed(log, tmp_path).answers[3]
    assert (answer.verdict, answer.process) == ("yes", None)
    assert "2026-11-24 06:01:4" in answer.summary
    assert answer.next_step is not None
    assert "pgtrace why --at '2026-11-24 06:01:4" in answer.next_step


def test_waits_for_locks_are_recorded_by_the_server(sample_lake: LakeHandle) -> None:
    [found] = examine(sample_lake, server="pg15-mixed")
    answer = found.answers[3]
    assert (answer.verdict, answer.process, answer.kind) == ("yes", "backend", "lock wait")


def test_what_a_log_does_not_have_is_not_guessed(tmp_path: Path) -> None:
    log = Server(shortest_ms=50)
    log.lines = [line for line in log.lines if "checkpoint" not in line[2] and "connect" not in line[2]]
    found = diagnosed(log, tmp_path)
    assert verdicts(found) == dict.fromkeys(QUESTIONS, "cannot tell")
    told = {answer.key: answer.would_tell for answer in found.answers}
    assert "log_statement_stats" in told["high_cpu"]
    assert "log_checkpoints" in told["disk_io_spiked"]
    assert "log_connections" in told["replication_lagging"]
    assert "log_min_duration_statement" in told["suddenly_slow"]
    assert (found.pooling.verdict, found.memory.ceiling_bytes) == ("cannot tell", None)


def test_a_known_threshold_turns_silence_into_an_answer(tmp_path: Path) -> None:
    log = MadeLog()
    log.say(0, 'parameter "log_min_duration_statement" changed to "2s"')
    log.checkpoint(100, 110)
    answer = diagnosed(log, tmp_path).answers[3]
    assert answer.verdict == "no"
    assert "2s" in answer.summary


def test_a_standby_that_is_close_behind_does_not_lag(tmp_path: Path) -> None:
    log = Server()
    log.say(1, "started streaming WAL from primary at 0/2500000 on timeline 1", 70)
    for at in (50, 100, 150):
        log.lines.append(
            (
                float(at),
                2,
                f"recovery restart point at 0/{at}00\n"
                f"2026-11-24 06:0{at // 60}:{at % 60:02d}.000 UTC [2] DETAIL:  "
                f"Last completed transaction was at log time 2026-11-24 06:0{(at - 1) // 60}:{(at - 1) % 60:02d}.5+00.",
            )
        )
    answer = diagnosed(log, tmp_path).answers[2]
    assert answer.verdict == "no"
    assert dict(answer.evidence[0].numbers) == {"points": 3, "most_s": pytest.approx(0.5)}


def test_settings_are_argued_against_with_evidence_only(tmp_path: Path) -> None:
    log = Server()
    log.storms()
    log.vacuums()
    log.spills()
    advice = {one.setting: one for one in diagnosed(log, tmp_path).advice}
    assert set(advice) == {"max_wal_size", "maintenance_work_mem", "work_mem"}
    assert advice["max_wal_size"].evidence.startswith("20 of 23 checkpoints were brought about by WAL")
    assert advice["max_wal_size"].commands == ("ALTER SYSTEM SET max_wal_size = '3GB';",)
    assert "3 times" in advice["maintenance_work_mem"].evidence
    assert "61 temporary files, 1.2 GB" in advice["work_mem"].evidence


def test_pooling_follows_from_churn(tmp_path: Path) -> None:
    log = Server()
    log.churn()
    pooling = diagnosed(log, tmp_path).pooling
    assert pooling.verdict == "yes"
    assert "100 % of the sessions last less than a second" in pooling.reasons[0]
    assert any(hint.startswith("default_pool_size = 2 ") for hint in pooling.hints)


@pytest.fixture(scope="module")
def only_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of one sample without its snapshot of the settings."""
    folder = tmp_path_factory.mktemp("doctor") / "lake"
    pgtrace.open(folder).ingest([SAMPLES / "pg15-mixed" / "postgresql.log"], server="db")
    return folder


def doctor(lake: Path, *options: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pgtrace", "doctor", "--lake", str(lake), *map(str, options)]
    return subprocess.run(command, cwd=lake.parent, capture_output=True, check=False)


def test_the_memory_ceiling_is_the_sum_of_its_parts(only_log: Path) -> None:
    """Settings of the run: 25 sessions, work_mem 256 kB, hash_mem_multiplier 2; no plan is logged."""
    snapshot = read_snapshot(SAMPLES / "pg15-mixed" / "settings.csv")
    [found] = examine(pgtrace.open(only_log), settings=snapshot)
    kilobytes = {name: size // 1024 for name, size in found.memory.parts.items()}
    assert kilobytes == {
        "shared_buffers": 4096,
        "wal_buffers": 128,
        "sessions": 25 * 512,
        "parallel_workers": 8 * 512,
        "temp_buffers": 25 * 8192,
        "autovacuum": 3 * 1024,
        "maintenance": 1024,
    }
    assert found.memory.ceiling_bytes == 1024 * sum(kilobytes.values())
    assert found.memory.likely_bytes is not None
    assert found.memory.likely_bytes < found.memory.ceiling_bytes
    assert found.memory.used["temp_files"] == 554


def test_settings_from_a_file_leave_the_lake_alone(only_log: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (only_log / "tables").rglob("*")}
    result = doctor(only_log, "--settings", SAMPLES / "pg15-mixed" / "settings.csv")
    assert b"together: the ceiling" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in (only_log / "tables").rglob("*")} == before
    assert pgtrace.open(only_log).sql("select count(*) as n from setting").pl()["n"].to_list() == [0]


def test_a_change_in_the_log_is_newer_than_a_snapshot_before_it(tmp_path: Path) -> None:
    (tmp_path / "settings.csv").write_text(
        "snapshot_at,name,setting,unit,context,vartype,source\n"
        "2026-11-24 05:00:00+00,shared_buffers,16384,8kB,postmaster,integer,default\n"
        "2026-11-24 05:00:00+00,max_connections,100,,postmaster,integer,default\n"
        "2026-11-24 05:00:00+00,work_mem,4096,kB,user,integer,default\n"
    )
    log = Server()
    log.say(60, 'parameter "work_mem" changed to "64MB"')
    found = diagnosed(log, tmp_path, settings=read_snapshot(tmp_path / "settings.csv"))
    assert found.memory.parts["sessions"] == 100 * 64 * 1024**2
    log.say(61, 'parameter "work_mem" removed from configuration file, reset to default')
    (tmp_path / "later").mkdir()
    later = diagnosed(log, tmp_path / "later", settings=read_snapshot(tmp_path / "settings.csv"))
    assert later.memory.unknown == ("work_mem",)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", None])
def test_a_file_that_is_no_snapshot_is_refused(content: bytes | None, tmp_path: Path, only_log: Path) -> None:
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.csv"):
        read_snapshot(path)
    result = doctor(only_log, "--settings", path)
    assert result.returncode == 2
    assert len(result.stderr.decode().splitlines()) == 1


def test_json_has_the_keys_that_are_documented(only_log: Path) -> None:
    result = doctor(only_log, "--format", "json")
    assert result.returncode == 1
    page = (ROOT / "docs" / "doctor.md").read_text()
    said = json.loads(result.stdout)
    [server] = said["servers"]
    assert (said["wrong"], list(server["answers"])) == (True, list(QUESTIONS))
    answer = server["answers"]["suddenly_slow"]
    assert (answer["answer"], answer["kind"]) == ("yes", "lock wait")
    keys = [*said, *server, *answer, *server["memory"], *server["pooling"], *server["settings"][0], *QUESTIONS]
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_exit_codes_are_for_monitoring(only_log: Path, tmp_path: Path) -> None:
    assert doctor(only_log).returncode == 1
    assert doctor(only_log, "--server", "nobody").returncode == 2
    assert doctor(only_log, "--since", "lunch").returncode == 2
    quiet = pgtrace.open(tmp_path / "quiet")
    quiet.ingest([Server().write(tmp_path / "quiet.log")], server="db")
    assert doctor(tmp_path / "quiet").returncode == 0
    assert doctor(tmp_path / "quiet", "--strict").returncode == 0
    dark = Server(shortest_ms=50)
    dark.lines = [line for line in dark.lines if "checkpoint" not in line[2]]
    pgtrace.open(tmp_path / "dark").ingest([dark.write(tmp_path / "dark.log")], server="db")
    assert doctor(tmp_path / "dark").returncode == 0
    assert doctor(tmp_path / "dark", "--strict").returncode == 1
    nothing = doctor(tmp_path / "nothing")
    assert (nothing.returncode, nothing.stdout[:8]) == (0, b"There is")


def test_every_sample_is_examined_without_a_complaint(sample_lake: LakeHandle) -> None:
    found = examine(sample_lake)
    assert [one.server for one in found] == sorted(folder.name for folder in SAMPLES.iterdir())
    json.dumps(diagnoses_json(found), allow_nan=False)


BINS = Bins(datetime(2026, 11, 24, tzinfo=UTC), 1.0, 600)


def test_noise_and_what_goes_on_half_of_the_time_are_no_spikes() -> None:
    rng = np.random.default_rng(3)
    assert not find_spikes(rng.normal(10, 3, 600), BINS, least=1, times=1.5, amount=1).any
    assert not find_spikes(rng.poisson(5, 600).astype(float), BINS, least=1, times=1.5, amount=1).any
    half = np.where(np.arange(600) % 2, 100.0, 0.0)
    assert not find_spikes(half, BINS, least=1, times=2, amount=1).any
    assert not find_spikes(np.zeros(0), BINS, least=1, times=2, amount=1).any


def test_a_spike_is_large_and_lasts() -> None:
    values = np.random.default_rng(3).normal(10, 1, 600)
    values[300:305] = 100
    found = find_spikes(values, BINS, least=20, times=3, amount=400)
    assert np.flatnonzero(found.mask).tolist() == [300, 301, 302, 303, 304]
    assert (found.place, found.peak) == (300, 100)
    assert not find_spikes(values, BINS, least=20, times=3, amount=500).any
