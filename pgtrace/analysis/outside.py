"""What executions are like outside of events: what is slow for each query, and which queries run there too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgtrace.analysis.executions import SLOW_SHARE, Executions
from pgtrace.analysis.grid import Booleans, Floats, Integers

#: very slow: an effect may sit in the tail alone
VERY_SLOW_SHARE = 0.01
#: fewer executions outside than this: slow is what it is over all the log
_FEWEST_OUTSIDE, _FEWEST_OF_EXTREMES = 50, 200
#: a query is compared if it runs outside at least so often, and at this share of its rate inside
_FEWEST_COMPARED, _LEAST_RATE = 5, 0.2


@dataclass(frozen=True, slots=True)
class Outside:
    """Per shape: ``slow_ms``, the 90th percentile of the executions that start outside, and ``very_slow_ms``, the 99th.

    Where durations below a threshold are not logged, they are of those that are; ``very_slow_ms`` is infinite where too
    few executions start outside. ``comparable``: the shapes that run there too; what runs in the events alone is part
    of them.
    """

    slow_ms: Floats
    very_slow_ms: Floats
    comparable: Booleans


def outside_of(executions: Executions, inside: Booleans) -> Outside:
    """Look at the executions that start in none of the bins that ``inside`` marks."""
    all_calls: Integers = executions.shapes["calls"].to_numpy().astype(np.int64)
    place = inside[executions.cell_bin]
    weighted = np.bincount(executions.cell_shape[place], executions.cell_calls[place], len(all_calls))
    inside_calls = weighted.astype(np.int64)
    outside_calls = all_calls - inside_calls
    kept = np.concatenate(([0], np.cumsum(~inside[executions.ranked_bin])))
    none = np.full(len(all_calls), np.inf)
    return Outside(
        _slowest(executions, kept, outside_calls, SLOW_SHARE, _FEWEST_OUTSIDE, executions.usual),
        _slowest(executions, kept, outside_calls, VERY_SLOW_SHARE, _FEWEST_OF_EXTREMES, none),
        _comparable(executions, inside, inside_calls, outside_calls),
    )


def _slowest(
    executions: Executions, kept: Integers, outside_calls: Integers, share: float, fewest: int, otherwise: Floats
) -> Floats:
    """The duration that this share of the executions outside exceeds; ``otherwise`` of fewer than ``fewest``.

    ``kept`` counts the rows outside among those ranked by duration.
    """
    first, last = kept[executions.slow_from[:-1]], kept[executions.slow_from[1:]]
    wanted = np.minimum(np.floor(outside_calls * share).astype(np.int64), last - first - 1)
    known = (outside_calls >= fewest) & (last > first)
    # the row with which so many of the shape's rows outside are reached, in order of duration
    place = np.searchsorted(kept, last - wanted) - 1
    found = np.where(known, executions.ranked_ms[np.where(known, place, 0)], otherwise)
    return np.maximum(found.astype(np.float64), executions.logging.from_ms)


def _comparable(executions: Executions, inside: Booleans, inside_calls: Integers, outside_calls: Integers) -> Booleans:
    comparable = outside_calls >= _FEWEST_COMPARED
    if executions.logging.is_censored:  # more of what is slow says nothing of how much there is
        return np.asarray(comparable)
    bins_in = int(np.sum(inside & executions.observed))
    bins_out = int(np.sum(~inside & executions.observed))
    return np.asarray(comparable & (outside_calls * bins_in >= _LEAST_RATE * inside_calls * bins_out))
