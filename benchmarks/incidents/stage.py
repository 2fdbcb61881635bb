"""One run: a server, its load, the cause at its times; and the label that says what was done when."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from benchmarks.postgres import program

from .bursts import Stage
from .causes import CAUSES, Cause
from .load import Window, effect
from .server import Place, Server, running

#: how the log is written
LOGS: dict[str, dict[str, str]] = {
    "stderr": {"log_destination": "stderr", "log_line_prefix": "%m [%p] %q%u@%d/%a "},
    "csv": {"log_destination": "csvlog"},
    "whole-seconds": {"log_destination": "stderr", "log_line_prefix": "%t [%p] %q%u@%d/%a "},
}
_SETTINGS = {
    "logging_collector": "on",
    "log_filename": "postgresql.log",
    "log_file_mode": "0644",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_checkpoints": "on",
    "log_autovacuum_min_duration": "0",
    "log_lock_waits": "on",
    "deadlock_timeout": "200ms",
    "log_temp_files": "0",
    "log_connections": "on",
    "log_disconnections": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "track_io_timing": "on",
}
_SETTLE_S = 3.0
_LEAD_S, _TAIL_S = 12.0, 8.0
_ON_S, _OFF_S, _ONCE_S = (3.0, 6.0), (5.0, 10.0), (20.0, 28.0)


@dataclass(frozen=True, slots=True)
class Run:
    """What to do. ``variant``: repeated, single, or control (nothing is done to slow anything down)."""

    cause: str
    variant: str
    log: str = "stderr"
    logged_from_ms: int = 0
    protocol: str = "simple"

    @property
    def name(self) -> str:
        """The folder."""
        special = [self.log] if self.log != "stderr" else []
        special += [f"{self.logged_from_ms}ms"] if self.logged_from_ms else []
        special += [self.protocol] if self.protocol != "simple" else []
        return "-".join([self.cause, self.variant, *special])


def times(variant: str, seconds: float, random: Random) -> list[tuple[float, float]]:
    """When the cause begins, in seconds after the load did, and for how long it lasts."""
    if variant == "single":
        length = random.uniform(*_ONCE_S)
        return [((seconds - length) * random.uniform(0.45, 0.55), length)]
    found: list[tuple[float, float]] = []
    at = _LEAD_S
    while True:
        length = random.uniform(*_ON_S)
        if at + length + _TAIL_S > seconds:
            return found
        found.append((at, length))
        at += length + random.uniform(*_OFF_S)


def perform(run: Run, out: Path, seconds: int, seed: int, below: str | None = None) -> dict[str, object]:
    """Make one run into the folder ``out``, which it replaces; returns its label."""
    cause = CAUSES[run.cause]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    settings = {**_SETTINGS, **LOGS[run.log], "log_min_duration_statement": str(run.logged_from_ms), **cause.settings}
    due = times(run.variant, seconds, Random(f"{seed} {run.name}")) if cause.burst else []
    busy = os.getloadavg()[0]
    with running(settings, Place(out, cause.segment_mb, cause.processors, below)) as server:
        _prepare(cause, server)
        bench = cause.load.start(server, run.protocol, seconds, seed, out / "pgbench")
        try:
            windows = _play(cause, server, due)
            bench.wait()
        finally:
            bench.stop()
    os.sync()  # so that the next run is not disturbed by what this one wrote
    version = subprocess.run([program("postgres"), "-V"], capture_output=True, text=True, check=True)
    label: dict[str, object] = {
        "name": out.name,
        "cause": cause.label,
        "variant": run.variant,
        "windows": [[first.isoformat(), last.isoformat()] for first, last in windows],
        "expected": cause.expected,
        "also": cause.also,
        "postgres_version": version.stdout.split()[2],
        "settings": settings,
        "seed": seed,
        "load": {"rate": cause.load.rate, "clients": cause.load.clients, "protocol": run.protocol},
        "effect": effect(out / "pgbench", windows),
        "data_below": below or tempfile.gettempdir(),
        "load_average_before": round(busy, 2),
    }
    (out / "label.json").write_text(json.dumps(label, indent=1) + "\n")
    return label


def _prepare(cause: Cause, server: Server) -> None:
    """Tables, in a state that lasts: nothing of this is left to be written later."""
    cause.load.prepare(server)
    session = server.session()
    session.run(cause.prepare)
    session.run("checkpoint")
    session.close()
    os.sync()
    time.sleep(_SETTLE_S)


def _play(cause: Cause, server: Server, due: list[tuple[float, float]]) -> list[Window]:
    """Cause it at the times that are due; returns when it was there, as it turned out."""
    stage = Stage(server, server.session())
    begun = time.monotonic()
    windows: list[Window] = []
    for at, length in due:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        first = datetime.now(UTC)
        assert cause.burst is not None
        cause.burst(stage, length)
        windows.append((first, datetime.now(UTC)))
    stage.control.close()
    return windows
