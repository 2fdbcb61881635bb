"""The steady load, and how long its transactions took inside and outside of the windows, by pgbench's own log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .server import Bench, Server

Floats = npt.NDArray[np.float64]
Window = tuple[datetime, datetime]

#: the somewhat longer read of the mix
READ = r"""\set first random(1, 90000 * :scale)
select count(*), sum(abalance), max(bid) from pgbench_accounts where aid between :first and :first + 8000;
"""
_WARM_UP_S = 5.0
_FEWEST = 30  # transactions below which a percentile is not told


@dataclass(frozen=True, slots=True)
class Load:
    """A mix at a fixed rate (transactions per second), well below what two cores can do."""

    rate: int = 90
    clients: int = 8
    scale: int = 10
    #: SQL for a further script of the mix, as a share of it: (script, weight against 60 select-only)
    more: tuple[tuple[str, int], ...] = ()

    def prepare(self, server: Server) -> None:
        """Make pgbench's tables, without a line in the log."""
        quiet = "-c log_min_duration_statement=-1"
        server.pgbench("setup", "-i", "-q", "-s", str(self.scale), options=quiet).wait()

    def start(self, server: Server, protocol: str, seconds: int, seed: int, log: Path) -> Bench:
        """Start the load; one line per transaction goes to files that begin with ``log``."""
        scripts = ["-b", "select-only@60", "-b", "tpcb-like@30"]
        for number, (text, weight) in enumerate([(READ, 10), *self.more]):
            path = server.folder / f"load{number}.sql"
            path.write_text(text)
            scripts += ["-f", f"{path}@{weight}"]
        shape = ["-c", str(self.clients), "-j", "1", "-R", str(self.rate), "-M", protocol]
        run = ["-T", str(seconds), "-s", str(self.scale), "--random-seed", str(seed)]
        return server.pgbench("shop", *shape, *run, *scripts, log=log)


def effect(log: Path, windows: Sequence[Window]) -> dict[str, Any]:
    """How long transactions took that started inside and outside of the windows.

    By pgbench's log, in ms: ``latency`` since a transaction was due (with the wait for a free client), ``execution``
    since it was begun. Percentiles are null where there are fewer than 30 transactions. The first 5 s are left out.
    """
    rows = np.concatenate([np.loadtxt(path, ndmin=2) for path in sorted(log.parent.glob(f"{log.name}.*"))])
    rows = rows[rows[:, 4] > rows[:, 4].min() + _WARM_UP_S]
    latency, lag = rows[:, 2] / 1e3, rows[:, 6] / 1e3
    ended = rows[:, 4] + rows[:, 5] / 1e6
    begun = ended - (latency - lag) / 1e3
    inside = np.zeros(len(rows), dtype=bool)
    for first, last in windows:
        inside |= (begun >= first.timestamp()) & (begun < last.timestamp())
    whole = {"latency": _compared(latency, inside), "execution": _compared(latency - lag, inside)}
    scripts = np.unique(rows[:, 3])
    by_script = {
        name: _compared((latency - lag)[rows[:, 3] == number], inside[rows[:, 3] == number])
        for number, name in zip(scripts, ("select", "update", "read", "more"), strict=False)
    }
    return {"transactions": len(rows), **whole, "by_script": by_script}


def _compared(milliseconds: Floats, inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    counts = {"inside": int(inside.sum()), "outside": int((~inside).sum())}
    within, without = _percentiles(milliseconds[inside]), _percentiles(milliseconds[~inside])
    ratio = {name: round(within[name] / without[name], 2) for name in within if without.get(name)}
    return {
        "inside": {"n": counts["inside"], **within},
        "outside": {"n": counts["outside"], **without},
        "ratio": ratio,
    }


def _percentiles(milliseconds: Floats) -> dict[str, float]:
    if len(milliseconds) < _FEWEST:
        return {}
    return {f"p{percent}": round(float(np.percentile(milliseconds, percent)), 3) for percent in (50, 95, 99)}
