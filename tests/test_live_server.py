"""A real server writes and rotates its logs while they are read: the lake ends up with what the server counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import held_port

import pgtrace
from pgtrace.api import LakeHandle

_ON_PATH = [Path(path).resolve().parent for path in (shutil.which("initdb"),) if path]
_FOUND = [*_ON_PATH, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
BIN = next((folder for folder in _FOUND if (folder / "pgbench").exists() and (folder / "initdb").exists()), None)
pytestmark = pytest.mark.skipif(BIN is None, reason="PostgreSQL's server is not installed: apt-get install postgresql")

SETTINGS = {
    "log_destination": "stderr,csvlog",
    "logging_collector": "on",
    "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log",
    "log_rotation_size": "256kB",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "log_timezone": "UTC",
    "log_min_duration_statement": "0",
    "log_checkpoints": "on",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_temp_files": "0",
    "fsync": "off",
}
CSVLOG = """create table postgres_log (log_time timestamptz, user_name text, database_name text, process_id int,
connection_from text, session_id text, session_line_num bigint, command_tag text, session_start_time timestamptz,
virtual_transaction_id text, transaction_id bigint, error_severity text, sql_state_code text, message text, detail text,
hint text, internal_query text, internal_query_pos int, context text, query text, query_pos int, location text,
application_name text, backend_type text, leader_pid int, query_id bigint)"""


class Server:
    """A throw-away server on loopback, in no language and no locale of the machine's."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.data = folder / "data"
        self.port = str(port)
        make = ["-D", str(self.data), "-A", "trust", "--no-sync", "-U", "postgres", "--no-locale", "-E", "UTF8"]
        self.run("initdb", *make, *options)
        settings = {
            **SETTINGS,
            "port": self.port,
            "unix_socket_directories": "",  # the path to one may be too long
            "listen_addresses": "127.0.0.1",
        }
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert BIN is not None
        command = [str(BIN / program), *arguments]
        if os.geteuid() == 0:  # the server refuses to run as root
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd="/", check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done

    def control(self, action: str, options: str = "") -> None:
        started = ["-l", str(self.data / "startup.log")] if action == "start" else ["-m", "fast"]
        self.run("pg_ctl", "-D", str(self.data), "-w", "-o", options, *started, action)

    def sql(self, text: str) -> list[list[str]]:
        done = self.run(
            "psql", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text
        )
        return [line.split("|") for line in done.stdout.splitlines()]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as found:
        yield found


@contextmanager
def running_server(*options: str) -> Iterator[Server]:
    """A server made with these options of initdb, until the end of the block.

    Its folder is not in pytest's: the server's user is another one where the tests run as root, and every pytest that
    begins closes root's folder to others.
    """
    with tempfile.TemporaryDirectory(prefix="pgtrace-", ignore_cleanup_errors=True) as folder, held_port() as port:
        open_to_all(Path(folder))
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        found = Server(Path(folder), port, *options)
        found.control("start")
        try:
            yield found
        finally:
            if (found.data / "postmaster.pid").exists():
                found.control("stop")


def open_to_all(folder: Path) -> None:
    """Let the server's user look into a folder."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)


def test_what_is_read_while_the_server_writes_is_what_the_server_counts(server: Server, tmp_path: Path) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    logs = str(server.data / "log" / "*.log")
    bench = ["-h", "127.0.0.1", "-p", server.port, "-U", "postgres", "postgres"]
    server.run("pgbench", "-i", "-q", *bench)
    assert BIN is not None
    busily = [str(BIN / "pgbench"), "-c", "2", "-T", "4", "-n", *bench]
    for _ in range(30):  # a slow machine takes longer to fill more than three files
        with subprocess.Popen(busily, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as busy:
            while busy.poll() is None:
                lake.ingest([logs])
        assert busy.returncode == 0
        if len(list((server.data / "log").glob("*.log"))) > 3:
            break
    else:
        pytest.fail("the log should have been rotated while it was read")
    server.sql("checkpoint")
    server.sql("set work_mem = '64kB'; select count(*) from (select * from generate_series(1, 50000) g order by -g) s")
    server.control("stop")
    lake.ingest([logs])
    by_server = _counted_by_the_server(server)
    assert _counted_in(lake) == by_server
    rows, problems = lake.audit()
    assert problems == []
    assert rows["meets"].all()


def _counted_by_the_server(server: Server) -> dict[str, float]:
    """Load the csvlog with COPY and count, as PostgreSQL's documentation shows."""
    server.control("start", "-c logging_collector=off -c log_destination=stderr")
    server.sql(CSVLOG)
    for path in sorted((server.data / "log").glob("*.csv")):
        server.sql(f"copy postgres_log from '{path}' csv")
    [row] = server.sql(
        "select count(*), count(*) filter (where message like 'duration: %'), "
        "round(sum(substring(message from 'duration: ([0-9.]+) ms')::numeric), 3), "
        "count(*) filter (where message like 'checkpoint complete%'), "
        "count(*) filter (where message like 'temporary file%'), "
        "count(*) filter (where message like 'connection received%'), "
        "count(*) filter (where message like 'disconnection%') from postgres_log"
    )
    return dict(zip(_NAMES, map(float, row), strict=True))


_NAMES = ("records", "statements", "total_ms", "checkpoints", "temp_files", "received", "ended")


def _counted_in(lake: LakeHandle) -> dict[str, float]:
    [row] = lake.sql(
        "select (select count(*) from record), (select count(*) from statement), "
        "(select round(sum(duration_ms), 3) from statement), "
        "(select count(completed_at) from checkpoint), (select count(*) from temp_file), "
        "(select count(received_at) from connection), (select count(ended_at) from connection)"
    ).fetchall()
    return dict(zip(_NAMES, map(float, row), strict=True))
