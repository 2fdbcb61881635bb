"""One test: a kind of events against all queries of a server, or against one, and what it came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pgtrace.analysis.effect import Effect, measure
from pgtrace.analysis.executions import Executions
from pgtrace.analysis.grid import Booleans, Counts, Floats
from pgtrace.analysis.kinds import Kind
from pgtrace.analysis.outside import outside_of
from pgtrace.analysis.windows import SHORTEST_CONTROL_S, Controls, Train, clipped, controls_of, marks

#: queries looked at one by one: those with most time, if they ran this often
_MOST_QUERIES, _FEWEST_CALLS = 20, 100
_LONGEST_GUARD_S = 2.0
#: what the slow tenth shows as plainly as this needs no look at the tail; nor if the tail shows no more than chance
_PLAIN_P, _TELLING_P = 0.005, 0.05


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of events made ready: what is slow outside of it, the queries to compare, and the time to compare with."""

    kind: Kind
    thresholds: Floats
    extremes: Floats
    inside: Booleans
    shapes: Booleans
    #: seconds beyond what is slow, of all executions that are not the events themselves, whenever they started
    all_slow_s: float
    guard: int
    shortest: float

    def controls(self, train: Train, bins: int) -> Controls:
        """The surroundings of the events."""
        return controls_of(train, bins, self.shortest, self.guard)


@dataclass(frozen=True, slots=True)
class Finding:
    """A test. ``shape`` is the number of the query, None for all.

    ``is_of_tail``: what counts is very slow, one in a hundred of the executions outside, and not one in ten.
    """

    server: str
    setting: Setting
    shape: int | None
    effect: Effect
    is_of_tail: bool
    q_value: float = 1.0
    verdict: str = ""
    other: str | None = None
    remark: str | None = None

    @property
    def kind(self) -> Kind:
        """The events."""
        return self.setting.kind

    @property
    def thresholds(self) -> Floats:
        """What counts as slow, in ms per shape."""
        return self.setting.extremes if self.is_of_tail else self.setting.thresholds

    @property
    def slow_ms(self) -> float | None:
        """What counts as slow; None where each query has its own."""
        return None if self.shape is None else float(self.thresholds[self.shape])

    def counts(self, executions: Executions) -> Counts:
        """What it counted: of its query, or of all that the events can concern."""
        shapes = self.shape if self.shape is not None else self.setting.shapes
        return executions.counts(self.thresholds, shapes)


def prepare(executions: Executions, kind: Kind) -> Setting:
    """Find what is slow outside of the events."""
    grid = executions.grid
    inside = marks(kind.train, grid.bins)
    usual = float(np.quantile(executions.slow_ms, 0.96)) / 1000 if len(executions.slow_ms) else 0.0
    guard = int(np.ceil(min(usual, _LONGEST_GUARD_S) / grid.width_s))
    outside = outside_of(executions, inside)
    # what runs in the events alone cannot be compared, and the events themselves are not their victims
    shapes = outside.comparable
    if kind.without is not None:
        shapes &= ~kind.without
    slow_s = executions.slow_s(outside.slow_ms, shapes)
    if kind.only is not None:
        shapes = shapes & kind.only
    return Setting(
        kind, outside.slow_ms, outside.very_slow_ms, inside, shapes, slow_s, guard, SHORTEST_CONTROL_S / grid.width_s
    )


def find_all(executions: Executions, server: str, kinds: Iterable[Kind]) -> list[Finding]:
    """Test every kind against all queries and against each of those that matter most."""
    calls = executions.shapes["calls"].to_numpy()
    single = [number for number in range(len(calls)) if calls[number] >= _FEWEST_CALLS][:_MOST_QUERIES]
    found = []
    for kind in kinds:
        setting = prepare(executions, kind)
        found.append(_test(executions, server, setting, None))
        found += [_test(executions, server, setting, number) for number in single if setting.shapes[number]]
    return [finding for finding in found if finding.effect.events]


def _test(executions: Executions, server: str, setting: Setting, shape: int | None) -> Finding:
    """The test of the slow tenth and of the slowest hundredth: the one that shows more, at twice its p-value."""
    slow = _effect(executions, setting, shape, setting.thresholds)
    tail = None if slow.p_value <= _PLAIN_P else _effect(executions, setting, shape, setting.extremes)
    is_of_tail = tail is not None and tail.p_value < min(slow.p_value, _TELLING_P)
    shown = tail if tail is not None and is_of_tail else slow
    # seconds are those beyond the limit of the slow tenth in either case
    effect = replace(shown, p_value=min(1.0, 2 * shown.p_value), excess_s=slow.excess_s)
    return Finding(server, setting, shape, effect, is_of_tail)


def _effect(executions: Executions, setting: Setting, shape: int | None, thresholds: Floats) -> Effect:
    counts = executions.counts(thresholds, setting.shapes if shape is None else shape)
    train, grid = setting.kind.train, executions.grid
    used = np.flatnonzero(np.diff(counts.base))
    if len(used):  # a query is looked at from its first execution to its last
        first, last = int(used[0]), int(used[-1]) + 1
        counts, train = counts.clipped(first, last), clipped(train, first, last)
    bins = len(counts.base) - 1
    return measure(counts, train, setting.controls(train, bins), seed=grid.bins)


def q_values(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's: the false discovery rate at which each test would be called significant."""
    count = len(p_values)
    order = np.argsort(p_values)[::-1]
    ranks = np.arange(count, 0, -1)
    falling = np.minimum.accumulate(p_values[order] * count / ranks)
    found = np.empty(count)
    found[order] = np.minimum(falling, 1.0)
    return found
