"""The negative control: what the time between events looks like, where nothing of the kind went on.

Work that a clock starts as often as the events come (a cron job every five minutes, a checkpoint every five minutes)
makes executions slow in the events without any doing of theirs. It shows in two ways: executions are slow in some part
of the gaps too, as if the train of events were moved there, or other work arrives when the events do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgtrace.analysis.effect import resampled
from pgtrace.analysis.grid import Counts, Floats
from pgtrace.analysis.windows import Train

#: parts that each gap is cut into
PARTS = 12
#: what has cooled down by now is no longer the event's own aftermath
_AFTERMATH = PARTS // 2
_SURE = 3.2
_SMALLEST = 1.25


@dataclass(frozen=True, slots=True)
class Gaps:
    """Per part of the gaps, in order: how often executions are slow there, by how often in the whole gap."""

    ratio: Floats
    low: Floats
    #: how often executions are slow in the events, by how often in the quieter half of the gaps; surely at least
    inside_low: float

    @property
    def elevated(self) -> float:
        """The largest ratio of a part in the later half that is surely above the rest; 1 if there is none."""
        late = slice(_AFTERMATH, PARTS)
        sure = self.low[late] > _SMALLEST
        return float(np.max(self.ratio[late][sure])) if bool(np.any(sure)) else 1.0


def gaps_of(counts: Counts, train: Train, guard: int, seed: int = 0) -> Gaps | None:
    """Compare the parts of the gaps between events; null where there are too few gaps to say.

    ``guard`` bins before each event are left out: what started there may still run when the event begins.
    """
    starts, ends = train.ends[:-1], np.maximum(train.starts[1:] - guard, train.ends[:-1])
    wide = (ends - starts) >= 2 * PARTS
    starts, ends = starts[wide], ends[wide]
    if len(starts) < PARTS // 2 or counts.base[-1] <= 0:
        return None
    edges = (starts[:, None] + (ends - starts)[:, None] * np.arange(PARTS + 1) / PARTS).astype(np.int64)
    base, slow = np.diff(counts.base[edges]), np.diff(counts.slow[edges])
    gap_base, gap_slow = base.sum(axis=1, keepdims=True), slow.sum(axis=1, keepdims=True)
    expected = np.where(gap_base > 0, base * gap_slow / np.maximum(gap_base, 1e-9), 0.0)
    weights = resampled(len(starts), seed)
    logs = np.log((weights @ slow + 0.5) / (weights @ expected + 0.5))
    seen = np.log((slow.sum(axis=0) + 0.5) / (expected.sum(axis=0) + 0.5))
    quiet = np.argsort(seen)[: PARTS // 2]
    quiet_base, quiet_slow = base[:, quiet].sum(axis=1), slow[:, quiet].sum(axis=1)
    events = Train(train.starts[:-1][wide], train.ends[:-1][wide])
    base_in, slow_in = (edges[events.ends] - edges[events.starts] for edges in (counts.base, counts.slow))
    rates = [
        (weights @ hits + 0.5) / np.maximum(weights @ of, 1e-9)
        for hits, of in ((slow_in, base_in), (quiet_slow, quiet_base))
    ]
    inside = np.log(rates[0] / rates[1])
    inside_low = float(np.exp(np.mean(inside) - _SURE * np.std(inside)))
    return Gaps(np.exp(seen), np.exp(seen - _SURE * np.std(logs, axis=0)), inside_low)
