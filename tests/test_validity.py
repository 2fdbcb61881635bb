"""The statistics keep the limits of docs/validity.md: a smaller benchmarks/validity, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

import pgtrace
from benchmarks.validity.__main__ import SAMPLES, line, real_runs
from benchmarks.validity.confusions import clocks, limits, together
from benchmarks.validity.made import executions, mix
from benchmarks.validity.scenarios import Row, nothing_there, planted, unlike
from pgtrace.analysis.executions import load

from made_log import MadeLog  # isort: skip


def kept(rows: Iterable[Row]) -> list[str]:
    """The rows whose limit is not kept."""
    return [line(row) for row in rows if not row.is_kept]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found_in_a_real_log_by_events_of_chance(seed: int) -> None:
    ((name, run),) = real_runs([SAMPLES / "pg16-mixed"]).items()
    assert kept(nothing_there(np.random.default_rng(seed), name, run, 60)) == []


@pytest.mark.parametrize(("factor", "from_ms"), [(1.5, 0.0), (1.5, 1.0), (3.0, 5.0)])
def test_planted_effects_are_found_with_their_size(factor: float, from_ms: float) -> None:
    assert kept(planted(np.random.default_rng(5), "made", None, factor, from_ms, 24, 12)) == []


@pytest.mark.parametrize(("scenario", "tries"), [(unlike, 20), (together, 20), (clocks, 10), (limits, 10)])
def test_what_must_not_be_mistaken_is_not(
    scenario: Callable[[np.random.Generator, int], Iterable[Row]], tries: int
) -> None:
    assert kept(scenario(np.random.default_rng(3), tries)) == []


def test_made_executions_are_what_a_lake_of_their_log_has(tmp_path: Path) -> None:
    run = mix(np.random.default_rng(4), 60.0)
    run = type(run)(run.starts, np.round(run.durations, 3), run.shapes)
    log = MadeLog()
    for shape in range(4):
        own = run.kept(run.shapes == shape)
        log.statements(own.starts, own.durations, f"select {'a' * (shape + 1)} from t")
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest(log.write(tmp_path / "postgresql.log"))
    read, made = load(lake.connection, "default", None, None), executions(run)
    assert read is not None
    assert read.shapes["calls"].to_list() == made.shapes["calls"].to_list()
    assert read.usual.tolist() == pytest.approx(made.usual.tolist())
    assert read.slow_s(read.usual) == pytest.approx(made.slow_s(made.usual), rel=1e-4)
    assert abs(read.grid.bins - made.grid.bins) <= 1
