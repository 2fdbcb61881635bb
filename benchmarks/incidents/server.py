"""A PostgreSQL server that is thrown away, and sessions on it that its log does not see."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.postgres import OWNER, program

USER, DATABASE = "bench", "postgres"
#: WAL kept for the label's reader, in MB; the newest where there was more
WAL_KEPT_MB = 200


def of_server(command: list[str], processors: int | None = None) -> None:
    """Run a program of the server, which refuses to run as root, on so many processors. Raises SystemExit."""
    if processors:
        command = ["taskset", "-c", f"0-{processors - 1}", *command]
    owner = OWNER if os.geteuid() == 0 else None
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", user=owner)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.decode()[-500:]}")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, on loopback only."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def environment(self, application: str, options: str = "") -> dict[str, str]:
        """What libpq needs to find it."""
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGDATABASE": DATABASE}
        return {**os.environ, **where, "PGAPPNAME": application, "PGOPTIONS": options, "TZ": "UTC"}

    def session(self, application: str = "control", *, logged: bool = False) -> Session:
        """A session that stays open; what it does is not in the log unless it is to be."""
        return Session(self.environment(application, "" if logged else "-c log_min_duration_statement=-1"))

    def pgbench(self, application: str, *arguments: str, options: str = "", log: Path | None = None) -> Bench:
        """Start pgbench; ``log`` begins the names of its files with one line per transaction."""
        logged = ["-l", f"--log-prefix={log}"] if log else []
        command = [program("pgbench"), "-n", *logged, *arguments]
        environment = self.environment(application, options)
        return Bench(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment))


@dataclass(frozen=True, slots=True)
class Bench:
    """pgbench, as it runs."""

    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Until it has ended. Raises SystemExit where it failed."""
        _, errors = self.process.communicate()
        if self.process.returncode:
            sys.exit(f"pgbench failed: {errors.decode()[-500:]}")

    def stop(self) -> None:
        """End it, where it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Session:
    """psql on a pipe: one connection for as long as it is open."""

    _DONE = "-- done --"

    def __init__(self, environment: Mapping[str, str]):
        pipe = subprocess.PIPE
        command = [program("psql"), "-X", "-q", "-A", "-t"]
        self._psql = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=dict(environment)
        )

    def run(self, sql: str) -> str:
        """Run ``sql``; its rows as text. Raises SystemExit with the server's message where it fails."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.write(f"{sql}\n;select '{self._DONE}';\n")
        self._psql.stdin.flush()
        lines = []
        for line in self._psql.stdout:
            if line.rstrip("\n") == self._DONE:
                break
            lines.append(line)
        text = "".join(lines)
        if "ERROR:" in text or "FATAL:" in text:
            sys.exit(f"{sql}: {text}")
        return text.strip()

    def close(self) -> None:
        """Disconnect."""
        self._psql.communicate()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and what is left of it: ``keep`` gets its log and its newest WAL."""

    keep: Path
    segment_mb: int
    #: how many processors it has; None: all
    processors: int | None = None
    #: the folder below which its data are; None: that for temporary files
    below: str | None = None


@contextmanager
def running(settings: Mapping[str, str], place: Place) -> Iterator[Server]:
    """A new server with these settings; at the end it is stopped and removed."""
    folder = Path(tempfile.mkdtemp(prefix="pgtrace-incident-", dir=place.below))
    server = Server(folder, _free_port())
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER)
    try:
        options = ["--no-sync", f"--wal-segsize={place.segment_mb}", "-E", "UTF8", "--locale=C", "-A", "trust"]
        of_server([program("initdb"), "-D", str(server.data), "-U", USER, *options])
        whole = {**settings, "listen_addresses": "127.0.0.1", "port": str(server.port)}
        whole |= {"unix_socket_directories": str(folder), "wal_keep_size": f"{WAL_KEPT_MB}MB"}
        with (server.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in whole.items())
        control = [program("pg_ctl"), "-D", str(server.data), "-w", "-l", str(folder / "startup.log")]
        of_server([*control, "start"], place.processors)
        try:
            yield server
        finally:
            of_server([*control, "-m", "fast", "stop"])
        _keep(server, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(server: Server, place: Place) -> None:
    """Copy the log, and the newest WAL that was used: after the last segment come files for recycling."""
    shutil.copytree(server.data / "log", place.keep / "log")
    state = subprocess.run([program("pg_controldata"), str(server.data)], capture_output=True, text=True, check=True)
    last = next(line.split()[-1] for line in state.stdout.splitlines() if "REDO WAL file" in line)
    segments = sorted(path for path in (server.data / "pg_wal").iterdir() if len(path.name) == 24 and path.name <= last)
    kept = place.keep / "wal"
    kept.mkdir()
    for path in segments[-(WAL_KEPT_MB // place.segment_mb) :]:
        shutil.copy2(path, kept)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
