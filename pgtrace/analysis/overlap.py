"""Which of several kinds of events is it, where they go on at the same time?

A Poisson regression of slow executions on what was going on, within blocks of time that each have a rate of their own
(conditional on a block's total, so that no block's rate has to be fitted). Errors are clustered by block, as slow
executions come in crowds (Huber's sandwich).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf

import numpy as np

from pgtrace.analysis.effect import student_95
from pgtrace.analysis.grid import Booleans, Counts, Floats, Integers
from pgtrace.analysis.windows import Train, marks

_ROUNDS = 40
#: time in which a kind goes on without the other must let us expect so many slow executions, and be such a share of it
_FEWEST_SLOW, _LEAST_SHARE = 5.0, 0.1
#: a block of time, in median distances between events, and the most blocks
_MOST_BLOCKS = 400


@dataclass(frozen=True, slots=True)
class Apart:
    """A kind's rate ratio with the others held equal, and how much of its time it has to itself.

    ``alone`` is the share of what started in it while none of the others went on; ``with_most`` is the position of the
    kind that it shares most with.
    """

    ratio: float
    low: float
    high: float
    alone: float
    expected_alone: float
    with_most: int

    @property
    def is_separable(self) -> bool:
        """Whether there is enough of it without the others."""
        return self.alone >= _LEAST_SHARE and self.expected_alone >= _FEWEST_SLOW


def set_apart(counts: Counts, trains: list[Train], block: int) -> list[Apart]:
    """One result per train, in order. ``block`` is the length of a block of time, in bins."""
    bins = len(counts.base) - 1
    block = max(block, -(-bins // _MOST_BLOCKS))
    going_on = np.stack([marks(train, bins) for train in trains])
    base, slow = np.diff(counts.base), np.diff(counts.slow)
    cells = _cells(base, slow, going_on, block)
    ratios, errors = _regression(*cells)
    t = student_95(len(np.unique(cells[2])) - 1)
    rate = float(np.sum(slow)) / max(float(np.sum(base)), 1e-9)
    results = []
    for number, on in enumerate(going_on):
        others = np.delete(going_on, number, axis=0)
        own = float(np.sum(base[on]))
        alone = float(np.sum(base[on & ~others.any(axis=0)]))
        shared = [float(np.sum(base[on & other])) if place != number else -1.0 for place, other in enumerate(going_on)]
        log_ratio, error = ratios[number], errors[number]
        results.append(
            Apart(
                ratio=exp(log_ratio),
                low=exp(max(log_ratio - t * error, -50.0)) if error < inf else 0.0,
                high=exp(min(log_ratio + t * error, 50.0)) if error < inf else inf,
                alone=alone / own if own else 0.0,
                expected_alone=alone * rate,
                with_most=int(np.argmax(shared)),
            )
        )
    return results


def _cells(base: Floats, slow: Floats, going_on: Booleans, block: int) -> tuple[Floats, Floats, Integers, Floats]:
    """Sums per block and set of kinds that were going on: base, slow, block, and the kinds as 0 and 1."""
    kinds = len(going_on)
    key = (np.arange(len(base)) // block) << kinds
    for number, on in enumerate(going_on):
        key |= on.astype(np.int64) << number
    cells, place = np.unique(key, return_inverse=True)
    total_base = np.bincount(place, base).astype(np.float64)
    filled = total_base > 0
    kind_bits = (cells[:, None] >> np.arange(kinds)) & 1
    total_slow = np.bincount(place, slow).astype(np.float64)
    return total_base[filled], total_slow[filled], (cells >> kinds)[filled], kind_bits[filled].astype(np.float64)


def _regression(base: Floats, slow: Floats, block: Integers, x: Floats) -> tuple[Floats, Floats]:
    """Logarithms of the rate ratios and their standard errors; an error is inf where nothing can be told."""
    kinds = x.shape[1]
    beta = np.zeros(kinds)
    _, place = np.unique(block, return_inverse=True)
    blocks = int(place.max(initial=-1)) + 1
    total = np.bincount(place, slow, blocks)
    information = np.zeros((kinds, kinds))
    for _ in range(_ROUNDS):
        weight = base * np.exp(np.clip(x @ beta, -30, 30))
        expected = weight * (total / np.maximum(np.bincount(place, weight, blocks), 1e-12))[place]
        centre = np.stack([np.bincount(place, expected * column, blocks) for column in x.T], axis=1)
        centred = x - (centre / np.maximum(total, 1e-12)[:, None])[place]
        gradient = centred.T @ (slow - expected)
        information = (centred * expected[:, None]).T @ centred
        step = np.linalg.lstsq(information + 1e-9 * np.eye(kinds), gradient, rcond=None)[0]
        beta = np.clip(beta + np.clip(step, -2, 2), -10, 10)
        if float(np.max(np.abs(step), initial=0.0)) < 1e-8:
            break
    scores = np.stack([np.bincount(place, (slow - expected) * column, blocks) for column in centred.T], axis=1)
    inverse = np.linalg.pinv(information, rcond=1e-8)
    covered = blocks / max(blocks - 1, 1)
    errors = np.sqrt(np.maximum(np.diag(inverse @ (scores.T @ scores) @ inverse) * covered, 0.0))
    known = np.diag(information) > 1e-6
    return beta, np.where(known & (errors > 0), errors, inf)
