"""pgtrace doctor --logging: what it asks for is accepted by a real server, and is then in its log."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from made_log import MadeLog
from test_live_server import BIN, Server, running_server

import pgtrace
from pgtrace.doctor import LoggingAdvice, advise_logging
from pgtrace.doctor.prefixadvice import _suggested

live = pytest.mark.skipif(BIN is None, reason="PostgreSQL's server is not installed: apt-get install postgresql")


def advised(path: Path, lake: Path) -> LoggingAdvice:
    handle = pgtrace.open(lake)
    handle.ingest([path], server="db")
    [found] = advise_logging(handle)
    return found


def states(advice: LoggingAdvice) -> dict[str, str]:
    return {setting.setting: setting.state for setting in advice.settings}


@live
def test_what_it_asks_for_is_then_in_the_log(tmp_path: Path) -> None:
    """A server that logs nothing is told to; then a spill, a checkpoint and a session are seen."""
    with running_server() as server:
        off = {
            "log_min_duration_statement": "-1",
            "log_checkpoints": "off",
            "log_connections": "off",
            "log_disconnections": "off",
            "log_temp_files": "-1",
            "log_autovacuum_min_duration": "-1",
            "log_line_prefix": "%t [%p] ",
        }
        for setting, value in off.items():
            server.sql(f"alter system set {setting} = '{value}'")
        server.sql("select pg_reload_conf()")
        _until(lambda: all(f'parameter "{setting}" changed' in _logged(server) for setting in off))
        quiet = tmp_path / "quiet"
        # the csvlog beside it would have all that a prefix has
        shutil.copytree(server.data / "log", quiet, ignore=shutil.ignore_patterns("*.csv"))
        before = advised(quiet, tmp_path / "before")
        assert states(before)["log_temp_files"] == "off"
        assert {one.setting for one in before.missing} >= {"log_min_duration_statement", "log_checkpoints"}

        _obey(server, before.commands)
        server.sql("select pg_sleep(1.1)")  # the name of a log file has seconds
        server.sql("select pg_rotate_logfile()")
        _until(lambda: len(list((server.data / "log").glob("*.log"))) > 1)
        server.sql("create table big as select g, md5(g::text) as note from generate_series(1, 100000) g")
        server.sql("set work_mem = '64kB'; select count(*) from (select * from big order by note) as sorted")
        server.sql("checkpoint")
        for setting in ("log_checkpoints", "log_lock_waits", "track_io_timing", "log_replication_commands"):
            assert server.sql(f"show {setting}") == [["on"]]
        server.control("stop")
        newest = max((server.data / "log").glob("*.log"))
        after = advised(newest, tmp_path / "after")
    seen = {setting for setting, state in states(after).items() if state == "seen"}
    assert seen >= {
        "log_checkpoints",
        "log_temp_files",
        "log_connections",
        "log_disconnections",
        "log_min_duration_statement",
    }
    assert after.prefix is not None
    assert (after.prefix.missing, after.prefix.commands) == ((), ())


def _logged(server: Server) -> str:
    return "".join(path.read_text() for path in (server.data / "log").glob("*.log"))


def _until(is_so: Callable[[], bool]) -> None:
    over = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < over
        time.sleep(0.05)


def _obey(server: Server, commands: tuple[str, ...]) -> None:
    """Run the commands in one session, as a user would; each that a server refuses fails."""
    script = server.data.parent / "commands.sql"
    script.write_text("\n".join(commands))
    script.chmod(0o644)
    server.run(
        "psql",
        "-h",
        "127.0.0.1",
        "-p",
        server.port,
        "-U",
        "postgres",
        "-Xq",
        "-v",
        "ON_ERROR_STOP=1",
        "-f",
        str(script),
    )


def test_what_is_not_seen_is_not_said_to_be_off(tmp_path: Path) -> None:
    log = MadeLog()
    log.say(0, "duration: 900.000 ms  statement: select 1")
    log.say(3600, "duration: 900.000 ms  statement: select 1")
    advice = advised(log.write(tmp_path / "x.log"), tmp_path / "lake")
    found = states(advice)
    assert (found["log_min_duration_statement"], found["log_lock_waits"]) == ("seen", "not seen in this log")
    assert advice.snapshot is not None
    assert "ALTER SYSTEM SET log_lock_waits = 'on';" in advice.commands
    # the shortest is 900 ms: fast ones are hidden
    assert "ALTER SYSTEM SET log_min_duration_statement = '100ms';" in advice.commands
    assert advice.commands[-1] == "select pg_reload_conf();"
    assert not any("log_statement_stats" in command for command in advice.commands)


def test_costs_are_those_of_the_log(tmp_path: Path) -> None:
    """3601 executions in an hour, 60 bytes before each, and one in ten is fast."""
    log = MadeLog()
    for second in range(3601):
        log.say(second, f"duration: {20 if second % 10 else 10}.300 ms  statement: select {second:04d}")
    log.say(3600.5, "duration: 0.100 ms  statement: select 1")
    advice = advised(log.write(tmp_path / "x.log"), tmp_path / "lake")
    setting = advice.settings[0]
    size = 60 + len("duration: 20.300 ms  statement: select 0000")
    assert setting.mb_per_day == pytest.approx(3601 * 24 * size / 1024**2, rel=0.01)
    assert "10ms instead of 0 would leave 100.0 %" in setting.cost


def test_a_snapshot_tells_what_the_log_does_not(tmp_path: Path) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest([SAMPLES / "pg15-mixed" / "postgresql.log", SAMPLES / "pg15-mixed" / "settings.csv"], server="db")
    [advice] = advise_logging(lake)
    assert advice.snapshot is None
    assert "not seen in this log" not in {
        state for setting, state in states(advice).items() if not setting.startswith("auto_explain")
    }


@pytest.mark.parametrize(
    ("has", "version", "wanted"),
    [
        ("tp", 13, "%m [%p] %c/%l %x %q%u@%d/%a "),
        ("tp", 16, "%m [%p] %c/%l %x %Q %q%u@%d/%a "),
        ("nphre", 13, "%m [%p] %c/%l %x %q%u@%d/%a %h %r %e "),
    ],
)
def test_the_prefix_keeps_what_is_there(has: str, version: int, wanted: str) -> None:
    assert _suggested(list(has), version) == wanted


def test_json_has_the_keys_that_are_documented(tmp_path: Path) -> None:
    pgtrace.open(tmp_path / "lake").ingest([SAMPLES / "pg15-slow50" / "postgresql.log"], server="db")
    command = [sys.executable, "-m", "pgtrace", "doctor", "--logging", "--lake", str(tmp_path / "lake")]
    result = subprocess.run([*command, "--format", "json"], capture_output=True, check=True)
    said = json.loads(result.stdout)
    [server] = said["servers"]
    page = (ROOT / "docs" / "logging.md").read_text()
    keys = [*said, *server, *server["settings"][0], *server["log_line_prefix"]]
    assert [key for key in keys if f"`{key}`" not in page] == []
    for_people = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert "select pg_reload_conf();" in for_people
    assert [one["setting"] for one in server["settings"] if one["setting"] not in for_people] == []
