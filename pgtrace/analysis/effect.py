"""How much more often executions are slow in events than just outside of them, and how sure that is.

The rate ratio is Mantel and Haenszel's over the events (J. Natl. Cancer Inst. 22, 1959): each is compared with its
own surroundings, so that load that drifts does no harm. Its interval comes from a bootstrap over events. Its p-value
comes from moving the whole train of events around the log: that keeps whatever is periodic, clustered or autocorrelated
in either, and asks only whether they meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import erfc, exp, inf, sqrt

import numpy as np

from pgtrace.analysis.grid import Booleans, Counts, Floats, Integers
from pgtrace.analysis.windows import Controls, Train, is_regular

#: below this number of events there is no interval worth the name
FEWEST_EVENTS = 8
#: as many as give the error to a few percent, fewer of many events
_RESAMPLES, _FEWEST_RESAMPLES, _MOST_DRAWS = 999, 199, 200_000
#: shifts tried at first, and where none of them reaches what was seen
_SHIFTS, _MORE_SHIFTS = 999, 19_999
#: events times shifts looked at in one go, and at most: bounds memory and time
_BATCH, _MOST_LOOKUPS = 500_000, 10_000_000
#: a statistic below this is no evidence of anything, and not worth a thousand shifts
_UNREMARKABLE = 1.0
#: shifts whose statistic is so many standard deviations below need no more shifts
_FAR_AWAY, _SMALLEST_P = 7.0, 1e-6
#: events that fill this share of the time are not shifted; without shifts no p-value is taken for smaller than this
_MOST_OF_THE_TIME, _SMALLEST_SHIFTLESS_P = 0.6, 1e-4
#: an event counts for no more than so many times the slow executions that are usual in and around events, and a few;
#: the seconds in its surroundings for no more than so many times the usual
_MOST_TIMES_USUAL, _MOST_BY_CHANCE, _MOST_TIMES_SECONDS = 3.0, 3.0, 10.0
_Z95, _Z80 = 1.959964, 0.841621


@dataclass(frozen=True, slots=True)
class Effect:
    """A rate ratio with its 95 % interval, of ``events`` that have executions inside and outside.

    ``excess_s``: seconds beyond what the surroundings let expect. ``smallest_seen``: the ratio that would have been
    seen four times out of five. ``slow_in`` and ``expected_in``: slow executions inside, and as many as expected.
    """

    events: int
    ratio: float
    low: float
    high: float
    p_value: float
    excess_s: float
    smallest_seen: float
    slow_in: float
    expected_in: float
    #: events with something to compare with on both sides: not at the edge of the log
    between: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Per event (last axis): what it has inside, and what its surroundings have."""

    base_in: Floats
    base_out: Floats
    slow_in: Floats
    slow_out: Floats

    @property
    def usable(self) -> Booleans:
        """Events with something to compare on both sides."""
        return (self.base_in > 0) & (self.base_out > 0)

    @property
    def share(self) -> Floats:
        """The part of an event's base that is inside; 0 where there is nothing to compare."""
        total = np.where(self.usable, self.base_in + self.base_out, 1.0)
        return np.where(self.usable, self.base_in / total, 0.0)

    @property
    def surplus(self) -> Floats:
        """Slow executions inside beyond the event's share of all around it: 0 on average if there is no effect."""
        return np.where(self.usable, self.slow_in - self.share * (self.slow_in + self.slow_out), 0.0)

    @property
    def usual(self) -> float:
        """Slow executions per base in and around events, but for the tenth of them that has most; of few, infinite."""
        slow, base = (self.slow_in + self.slow_out)[self.usable], (self.base_in + self.base_out)[self.usable]
        if len(slow) < FEWEST_EVENTS:
            return inf
        kept = np.argsort(slow / base)[: -max(1, len(slow) // 10)]
        return float(np.sum(slow[kept]) / np.sum(base[kept]))

    def tempered(self, usual: float, times: float = _MOST_TIMES_USUAL, more: float = _MOST_BY_CHANCE) -> Tally:
        """One pile-up does not outweigh all other events: it counts for ``times`` the ``usual`` and ``more`` at most.

        Those inside and those outside alike, so that the event's own ratio stays.
        """
        if usual == inf:
            return self
        slow = self.slow_in + self.slow_out
        most = times * usual * (self.base_in + self.base_out) + more
        factor = np.minimum(1.0, most / np.maximum(slow, 1e-9))
        return Tally(self.base_in, self.base_out, self.slow_in * factor, self.slow_out * factor)


def tally(counts: Counts, train: Train, controls: Controls) -> Tally:
    """Inside and outside of each event."""
    here = np.zeros(1, np.int64)
    return Tally(*(rows[0] for edges in (counts.base, counts.slow) for rows in _sides(edges, train, controls, here)))


def _sides(edges: Floats, train: Train, controls: Controls, shifts: Integers) -> tuple[Floats, Floats]:
    """Sums inside and outside of each event, one row for the train moved by each so many bins."""
    moves = shifts[:, None]

    def between(start: Integers, end: Integers) -> Floats:
        found: Floats = edges[end + moves] - edges[start + moves]
        return found

    outside = between(controls.before_from, controls.before_to) + between(controls.after_from, controls.after_to)
    return between(train.starts, train.ends), outside


def measure(counts: Counts, train: Train, controls: Controls, seed: int = 0, with_p: bool = True) -> Effect:
    """The effect of a train of events on what was counted; p is 1 where there is nothing to measure."""
    seen = tally(counts, train, controls)
    events = int(np.sum(seen.usable))
    even = seen.tempered(seen.usual)
    inside, outside = _weighted(even)
    ratio, error = _ratio(inside, outside, seed)
    t = student_95(events - 1)
    excess, expected = _excess(counts, train, controls, seen, even)
    sure = events >= 2 and ratio > 0 and error < inf
    return Effect(
        events=events,
        ratio=ratio,
        low=ratio * exp(-min(t * error, 50)) if sure else 0.0,
        high=ratio * exp(min(t * error, 50)) if sure else inf,
        p_value=_p_value(counts, train, controls, seen, seed) if with_p and events else 1.0,
        excess_s=excess,
        smallest_seen=exp(min((t + _Z80) * error, 50)) if sure else inf,
        slow_in=float(np.sum(seen.slow_in[seen.usable])),
        expected_in=expected,
        between=_between(counts, controls),
    )


def _between(counts: Counts, controls: Controls) -> int:
    before = counts.base[controls.before_to] > counts.base[controls.before_from]
    return int(np.sum(before & (counts.base[controls.after_to] > counts.base[controls.after_from])))


def _weighted(seen: Tally) -> tuple[Floats, Floats]:
    """Each event's part of the Mantel-Haenszel ratio: above and below the line."""
    usable = seen.usable
    share = seen.share[usable]
    return seen.slow_in[usable] * (1 - share), seen.slow_out[usable] * share


def _ratio(inside: Floats, outside: Floats, seed: int) -> tuple[float, float]:
    """The ratio, and the standard error of its logarithm by a bootstrap over events."""
    if not len(inside):
        return 1.0, inf
    # half an execution more on either side keeps the ratio finite where nothing was slow there
    more = 0.5 * 0.5 / len(inside)
    above, below = inside + more, outside + more
    ratio = float(np.sum(above) / np.sum(below))
    if len(inside) < 2:
        return ratio, inf
    weights = resampled(len(inside), seed)
    logs = np.log((weights @ above) / (weights @ below))
    return ratio, float(np.std(logs, ddof=1)) * sqrt(len(inside) / (len(inside) - 1))


@lru_cache(maxsize=8)
def resampled(events: int, seed: int) -> Floats:
    """How often each event is drawn in each sample of a bootstrap: samples by events; not to be written to.

    The tests of one kind of events have mostly as many: they share the samples.
    """
    samples = int(np.clip(_MOST_DRAWS // events, _FEWEST_RESAMPLES, _RESAMPLES))
    drawn = np.random.default_rng(seed).multinomial(events, np.full(events, 1 / events), size=samples)
    weights = drawn.astype(np.float64)
    weights.flags.writeable = False
    return weights


def student_95(freedom: int) -> float:
    """The 97.5 % point of Student's t (Cornish and Fisher's expansion, within 1 % from 4 degrees of freedom on)."""
    if freedom < 1:
        return inf
    z, v = _Z95, float(freedom)
    terms = (z**3 + z) / (4 * v), (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    last = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + sum(terms) + last


def _excess(counts: Counts, train: Train, controls: Controls, seen: Tally, even: Tally) -> tuple[float, float]:
    """Seconds over the threshold, and slow executions, inside: beyond, and as many as, the surroundings let expect."""
    usable = seen.usable
    over_in, over_out = (rows[0] for rows in _sides(counts.over_s, train, controls, np.zeros(1, np.int64)))
    outside = Tally(seen.base_in, seen.base_out, np.zeros_like(over_out), over_out)
    over_out = outside.tempered(outside.usual, _MOST_TIMES_SECONDS, 0.0).slow_out
    weight = seen.share[usable]
    base_out = float(np.sum(seen.base_out[usable] * weight))
    if base_out == 0:
        return 0.0, 0.0
    base_in = float(np.sum(seen.base_in[usable]))
    over_rate = float(np.sum(over_out[usable] * weight)) / base_out
    slow_rate = float(np.sum(even.slow_out[usable] * weight)) / base_out
    return float(np.sum(over_in[usable])) - base_in * over_rate, base_in * slow_rate


def _statistic(seen: Tally) -> Floats:
    """How far the surpluses are from 0: by their own spread over the events or, of few events, by Poisson's."""
    surplus = seen.surplus
    if surplus.shape[-1] >= FEWEST_EVENTS:
        spread = np.sum(surplus**2, axis=-1)
    else:
        spread = np.sum(seen.share * (1 - seen.share) * (seen.slow_in + seen.slow_out), axis=-1)
    return np.asarray(np.sum(surplus, axis=-1) / np.sqrt(np.maximum(spread, 1e-12)))


def _p_value(counts: Counts, train: Train, controls: Controls, here: Tally, seed: int) -> float:
    """The share of shifts of the train, around the whole log, that look as bad as the train where it is."""
    bins = len(counts.base) - 1
    usual = here.usual
    here = here.tempered(usual)
    seen = float(_statistic(here))
    if seen < _UNREMARKABLE:
        return 0.5 * erfc(seen / sqrt(2))
    fills = bool(np.sum(train.lengths) > _MOST_OF_THE_TIME * bins)
    if len(train) >= FEWEST_EVENTS and (fills or is_regular(train)):
        return _p_of_events(here)
    rng = np.random.default_rng(seed)
    found = _shifted(counts, train, controls, _drawn(rng, bins, _SHIFTS), usual)
    reached = int(np.sum(found >= seen - 1e-9))
    if reached or bins <= _SHIFTS:
        return (1 + reached) / (1 + len(found))
    away = (seen - float(np.mean(found))) / max(float(np.std(found)), 1e-9)
    if away > _FAR_AWAY or len(train) * _MORE_SHIFTS > _MOST_LOOKUPS:
        # no shift comes near, or there are very many events: the tail of a normal distribution, and no boasting
        return max(0.5 * erfc(away / sqrt(2)), _SMALLEST_P)
    found = _shifted(counts, train, controls, _drawn(rng, bins, _MORE_SHIFTS), usual)
    return (1 + int(np.sum(found >= seen - 1e-9))) / (1 + len(found))


def _p_of_events(seen: Tally) -> float:
    """Where no shift can miss the events: do they, one by one, have more than their share?

    That is where they fill most of the time, or follow each other like a clock's, so that every period looks alike.

    Student's test of their surpluses; each has its own surroundings, so they are as good as independent.
    """
    surplus = seen.surplus[seen.usable]
    if len(surplus) < FEWEST_EVENTS:
        return 1.0
    away = float(np.mean(surplus)) / max(float(np.std(surplus, ddof=1)) / sqrt(len(surplus)), 1e-12)
    # the tails of Student's distribution are wider than the normal one's: by as much at the 95 % point, and more beyond
    return max(0.5 * erfc(away * _Z95 / student_95(len(surplus) - 1) / sqrt(2)), _SMALLEST_SHIFTLESS_P)


def _drawn(rng: np.random.Generator, bins: int, wanted: int) -> Integers:
    """Shifts, none twice and never 0."""
    if bins - 1 <= wanted:
        return np.arange(1, bins)
    return 1 + rng.choice(bins - 1, size=wanted, replace=False)


def _shifted(counts: Counts, train: Train, controls: Controls, shifts: Integers, usual: float) -> Floats:
    """The statistic of the train moved around the log, what goes over the end coming in at the beginning."""
    around = [np.concatenate((edges, edges[-1] + edges[1:])) for edges in (counts.base, counts.slow)]
    step = max(1, _BATCH // max(len(train), 1))
    found = []
    for first in range(0, len(shifts), step):
        moved = shifts[first : first + step]
        tallies = Tally(*(rows for edges in around for rows in _sides(edges, train, controls, moved)))
        found.append(_statistic(tallies.tempered(usual)))
    return np.concatenate(found)
