"""Executions counted on a grid of time: all that the statistics need, and no more of it for a longer log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: a grid has at most so many bins, and none is shorter than this
MOST_BINS = 100_000
SHORTEST_BIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Grid:
    """Bins of ``width_s`` seconds from ``origin_s`` (seconds since 1970) on."""

    origin_s: float
    width_s: float
    bins: int

    @classmethod
    def over(cls, first_s: float, last_s: float, resolution_s: float = 0.0) -> Grid:
        """The finest grid from ``first_s`` to ``last_s`` that is allowed; no finer than the log's clock."""
        span = max(last_s - first_s, SHORTEST_BIN_S)
        width = max(SHORTEST_BIN_S, resolution_s, span / MOST_BINS)
        return cls(first_s, width, int(span / width) + 1)

    def position(self, times_s: Floats) -> Floats:
        """Times as positions on the grid, in bins."""
        return (times_s - self.origin_s) / self.width_s

    def time_s(self, position: float) -> float:
        """A position as seconds since 1970."""
        return self.origin_s + position * self.width_s


@dataclass(frozen=True, slots=True)
class Counts:
    """What started by each edge of the grid, all of length ``bins + 1`` and rising.

    ``base`` is what slow executions are compared with: executions, or seconds where the log hides the fast ones.
    ``slow`` counts executions slower than the threshold, ``over_s`` adds up by how many seconds they were.
    """

    base: Floats
    slow: Floats
    over_s: Floats

    @classmethod
    def of_bins(cls, base: Floats, slow: Floats, over_s: Floats) -> Counts:
        """From what each bin has."""
        return cls(rising(base), rising(slow), rising(over_s))

    def clipped(self, first: int, last: int) -> Counts:
        """Of the bins from ``first`` to ``last`` only."""
        return Counts(*(edges[first : last + 1] - edges[first] for edges in (self.base, self.slow, self.over_s)))


def rising(bins: Floats) -> Floats:
    """Sums up to each edge of the grid."""
    return np.concatenate(([0.0], np.cumsum(bins, dtype=np.float64)))
