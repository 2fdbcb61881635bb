"""A train of events on the grid, and the event-free time around each that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgtrace.analysis.grid import Booleans, Floats, Integers

#: the time compared with is as long as the event on either side, and at least this
SHORTEST_CONTROL_S = 10.0


@dataclass(frozen=True, slots=True)
class Train:
    """Events in order of time, none overlapping, in bins: ``starts[i] <= t < ends[i]``."""

    starts: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Integers:
        """How long each is, in bins."""
        return self.ends - self.starts


@dataclass(frozen=True, slots=True)
class Controls:
    """Event-free time before and after each event, in bins; an interval may be empty."""

    before_from: Integers
    before_to: Integers
    after_from: Integers
    after_to: Integers


def train_of(starts: Floats, ends: Floats, bins: int, merge_within: float = 0.0) -> Train:
    """Events, given as positions on a grid of ``bins``, rounded outwards; those ``merge_within`` bins become one."""
    order = np.argsort(starts, kind="stable")
    first = np.floor(starts[order]).astype(np.int64)
    last = np.maximum(np.ceil(ends[order]).astype(np.int64), first + 1)
    inside = (last > 0) & (first < bins)
    first, last = np.clip(first[inside], 0, bins), np.clip(last[inside], 0, bins)
    if not len(first):
        return Train(first, last)
    reached = np.maximum.accumulate(last)
    begins = np.concatenate(([True], first[1:] > reached[:-1] + merge_within))
    return Train(first[begins], reached[np.concatenate((begins[1:], [True]))])


def controls_of(train: Train, bins: int, shortest: float, guard: int) -> Controls:
    """Time on either side of each event, as long as it and at least ``shortest`` bins, that no event is in.

    ``guard`` bins before an event are left out: what started there may still run when the event begins.
    """
    reach = np.maximum(train.lengths, int(np.ceil(shortest)))
    # a gap's first half belongs to the event before it, its second half to the one after: no time counts twice
    middles = (train.ends[:-1] + train.starts[1:]) // 2
    earliest = np.concatenate(([0], middles))
    latest = np.concatenate((middles, [bins]))
    before_to = np.maximum(train.starts - guard, earliest)
    before_from = np.clip(before_to - reach, earliest, before_to)
    after_to = np.clip(train.ends + reach, train.ends, latest)
    return Controls(before_from, before_to, train.ends, after_to)


def marks(train: Train, bins: int) -> Booleans:
    """Which bins the events are in."""
    change = np.zeros(bins + 1, np.int64)
    np.add.at(change, train.starts, 1)
    np.add.at(change, train.ends, -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def clipped(train: Train, first: int, last: int) -> Train:
    """The events within bins ``first`` to ``last``, counted from ``first``."""
    starts, ends = np.clip(train.starts, first, last) - first, np.clip(train.ends, first, last) - first
    kept = ends > starts
    return Train(starts[kept], ends[kept])


def is_regular(train: Train) -> bool:
    """Whether the events follow each other like a clock's: the gaps between starts vary by less than a quarter."""
    if len(train) < 4:
        return False
    gaps = np.diff(train.starts)
    return bool(np.std(gaps) < 0.25 * np.mean(gaps))
