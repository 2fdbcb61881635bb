"""How much longer executions take in events: for what is going to be told, from the durations that were kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgtrace.analysis.executions import Executions
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Floats
from pgtrace.analysis.windows import Train, marks

QUANTILES = (0.5, 0.95, 0.99)
#: a quantile needs so many executions above it, inside and outside
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Slower:
    """Durations inside by durations outside; None where the log, or what was kept of it, cannot say.

    ``times`` compares the durations that equally many executions exceed as exceed the limit of slow outside;
    ``at_quantile`` the quantiles of QUANTILES, where all durations are logged. Of all queries together, durations are
    taken relative to each query's limit of slow.
    """

    times: float | None
    at_quantile: tuple[float | None, ...]


def slower(executions: Executions, finding: Finding) -> Slower:
    """Compare the durations inside of the events with those in their surroundings."""
    setting, bins = finding.setting, executions.grid.bins
    controls = setting.controls(finding.kind.train, bins)
    outside = marks(Train(controls.before_from, controls.before_to), bins)
    outside |= marks(Train(controls.after_from, controls.after_to), bins)
    base = np.diff(finding.counts(executions).base)
    base_in, base_out = float(base[setting.inside].sum()), float(base[outside].sum())
    _, rows = executions.rows(finding.shape if finding.shape is not None else setting.shapes)
    times = executions.slow_ms[rows] / finding.thresholds[executions.slow_shape[rows]]
    place = executions.slow_bin[rows]
    inside_times = np.sort(times[setting.inside[place]])[::-1]
    outside_times = np.sort(times[outside[place]])[::-1]
    slow_out = int(np.sum(outside_times > 1))
    matched = None
    if slow_out >= _FEWEST and base_out > 0:
        matched = _nth(inside_times, round(slow_out * base_in / base_out))
    quantiles: tuple[float | None, ...] = (None,) * len(QUANTILES)
    if not executions.logging.is_censored:
        quantiles = tuple(
            _ratio(_nth(inside_times, round(base_in * (1 - q))), _nth(outside_times, round(base_out * (1 - q))))
            for q in QUANTILES
        )
    return Slower(matched, quantiles)


def _nth(falling: Floats, rank: int) -> float | None:
    """The value that ``rank`` values exceed; None where that is too few, or not among those kept."""
    return float(falling[rank]) if _FEWEST <= rank < len(falling) else None


def _ratio(inside: float | None, outside: float | None) -> float | None:
    return inside / outside if inside is not None and outside else None
