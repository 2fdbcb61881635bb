"""Bins of time that are surely above the log's own usual level."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: steps that a log is cut into at most, and their least length
_MOST_STEPS, _SHORTEST_S = 5000, 1.0
#: so many standard deviations (of the bins near the median) above the median is surely above it
_DEVIATIONS = 6.0
#: the deviation of normally distributed values over their median absolute deviation
_MAD_TO_DEVIATION = 1.4826
#: with fewer bins nobody knows what is usual
_FEWEST = 8

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spikes:
    """Where a series is above its usual level: ``mask`` of the bins, ``usual`` (the median) and ``limit``.

    ``peak`` is the highest value, in bin ``place``; all in units per second.
    """

    mask: NDArray[np.bool_]
    usual: float
    limit: float
    peak: float
    place: int

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.mask.any())


@dataclass(frozen=True, slots=True)
class Bins:
    """Equal steps of time from ``first_at`` on."""

    first_at: datetime
    step_s: float
    count: int

    def position(self, times: list[datetime]) -> NDArray[np.int64]:
        """The bin of each time."""
        return np.asarray([int((time - self.first_at).total_seconds() // self.step_s) for time in times], np.int64)

    def time(self, place: int) -> datetime:
        """When a bin begins."""
        return self.first_at + timedelta(seconds=place * self.step_s)

    def summed(self, rows: list[dict[str, Any]], column: str) -> Values:
        """Amounts of rows with ``starting_at`` per bin, per second."""
        amounts = np.zeros(self.count)
        kept = [row for row in rows if row[column] is not None]
        places = self.position([row["starting_at"] for row in kept])
        inside = (places >= 0) & (places < self.count)
        values = np.asarray([row[column] for row in kept], np.float64)
        np.add.at(amounts, places[inside], values[inside])
        return amounts / self.step_s

    def covered(self, starts: list[datetime], ends: list[datetime]) -> Values:
        """How many of the stretches from ``starts`` to ``ends`` go on at once, on average per bin."""
        covered = np.zeros(self.count)
        for start, end in zip(starts, ends, strict=True):
            first = (start - self.first_at).total_seconds() / self.step_s
            last = (end - self.first_at).total_seconds() / self.step_s
            for place in range(max(0, int(first)), min(self.count, int(last) + 1)):
                covered[place] += max(0.0, min(last, place + 1) - max(first, place))
        return covered


def bins_of(first_at: datetime, last_at: datetime) -> Bins:
    """Bins from the first to the last time, at multiples of their length."""
    span = (last_at - first_at).total_seconds()
    step = max(_SHORTEST_S, float(np.ceil(span / _MOST_STEPS)))
    epoch = first_at.timestamp() // step * step
    began = first_at + timedelta(seconds=epoch - first_at.timestamp())
    return Bins(began, step, int((last_at - began).total_seconds() // step) + 1)


def find_spikes(values: Values, bins: Bins, *, least: float, times: float, amount: float) -> Spikes:
    """Bins that are above the median by six robust deviations, by ``least``, and ``times`` as much as it.

    They must have ``amount`` (a rate times seconds) more than usual together: what is high for a moment only is
    nothing to act on. What goes on more than half of the time is usual, and no spike.
    """
    usual = float(np.median(values)) if values.size else 0.0
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(values - usual))) if values.size else 0.0
    limit = max(usual + _DEVIATIONS * deviation, usual + least, times * usual)
    mask = values >= limit if values.size >= _FEWEST else np.zeros(values.shape, np.bool_)
    if float((values[mask] - usual).sum()) * bins.step_s < amount:
        mask = np.zeros(values.shape, np.bool_)
    place = int(np.argmax(values)) if values.size else 0
    return Spikes(mask, usual, limit, float(values[place]) if values.size else 0.0, place)


def stretch(spikes: Spikes, bins: Bins) -> str:
    """How long the bins above the limit are together: ``23 s``, ``4 min``."""
    total = float(spikes.mask.sum()) * bins.step_s
    return f"{total:.0f} s" if total < 300 else f"{total / 60:.0f} min" if total < 7200 else f"{total / 3600:.1f} h"
