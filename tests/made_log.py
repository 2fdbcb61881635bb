"""Logs with a known effect in them, as a server would have written them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pgtrace.analysis.grid import Floats

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@dataclass
class MadeLog:
    """Lines in any order; written in order of time. Times are seconds from START on."""

    lines: list[tuple[float, int, str]] = field(default_factory=list)

    def say(self, at: float, text: str, pid: int = 1) -> None:
        """A message of severity LOG."""
        self.lines.append((at, pid, text))

    def statements(self, starts: Floats, durations_ms: Floats, sql: str, pid: int = 100) -> None:
        """Executions, each logged when it ends."""
        for start, duration in zip(starts, durations_ms, strict=True):
            self.say(start + duration / 1000, f"duration: {duration:.3f} ms  statement: {sql}", pid)

    def checkpoint(self, start: float, end: float) -> None:
        """A checkpoint from start to end."""
        self.say(start, "checkpoint starting: time", 2)
        self.say(
            end,
            f"checkpoint complete: wrote 100 buffers (0.6%); 0 WAL file(s) added, 0 removed, 0 recycled; "
            f"write={end - start:.3f} s, sync=0.001 s, total={end - start:.3f} s; sync files=1, longest=0.001 s, "
            "average=0.001 s; distance=100 kB, estimate=100 kB",
            2,
        )

    def write(self, path: Path) -> Path:
        """Write the log with log_line_prefix '%m [%p] '."""
        with path.open("w") as file:
            for at, pid, text in sorted(self.lines, key=lambda line: line[0]):
                stamp = (START + timedelta(seconds=at)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
                file.write(f"{stamp} UTC [{pid}] LOG:  {text}\n")
        return path


def steady(rng: np.random.Generator, seconds: float, per_second: float, typical_ms: float) -> tuple[Floats, Floats]:
    """Starts and lognormal durations of executions that nothing slows down."""
    starts = np.sort(rng.uniform(0, seconds, rng.poisson(seconds * per_second)))
    return starts, typical_ms * rng.lognormal(0, 0.8, len(starts))
