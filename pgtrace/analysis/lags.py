"""The lag profile: how often executions are slow so many seconds before and after events begin."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from pgtrace.analysis.effect import resampled
from pgtrace.analysis.executions import Executions
from pgtrace.analysis.finding import Finding

#: steps on either side of the beginning, and how far they reach, in median lengths of the events and at least
_STEPS, _REACH_LENGTHS, _LEAST_REACH_S = 12, 2.0, 12.0
_Z95 = 1.959964


def lag_profile(executions: Executions, finding: Finding) -> list[dict[str, Any]]:
    """One row per step: from_s and to_s after the beginning of events (below 0: before), slow_ratio with its interval.

    The ratio is to the mean of the same events' time outside; a step is of the time before the next event only. An
    effect that begins before its events do is not theirs.
    """
    grid, train = executions.grid, finding.kind.train
    counts = finding.counts(executions)
    bins = grid.bins
    reach = max(_REACH_LENGTHS * float(np.median(train.lengths)), _LEAST_REACH_S / grid.width_s)
    steps = np.unique(np.round(np.linspace(-reach, reach, 2 * _STEPS + 1)).astype(np.int64))
    previous = np.concatenate(([0], train.ends[:-1]))
    following = np.concatenate((train.starts[1:], [bins]))
    controls = finding.setting.controls(train, bins)
    base_out, slow_out = (
        float(
            np.sum(
                edges[controls.before_to]
                - edges[controls.before_from]
                + edges[controls.after_to]
                - edges[controls.after_from]
            )
        )
        for edges in (counts.base, counts.slow)
    )
    if base_out == 0 or slow_out == 0:
        return []
    weights = resampled(len(train), bins) if len(train) > 1 else None
    rows = []
    for first, last in pairwise(steps):
        begin = np.clip(train.starts + first, previous, following)
        end = np.clip(train.starts + last, previous, following)
        base, slow = (edges[end] - edges[begin] for edges in (counts.base, counts.slow))
        if base.sum() == 0:
            continue
        ratio = float(slow.sum() / base.sum()) / (slow_out / base_out)
        low = high = None
        if weights is not None:
            spread = float(np.std(np.log((weights @ slow + 0.5) / (weights @ base + 1e-9))))
            low, high = ratio * np.exp(-_Z95 * spread), ratio * np.exp(_Z95 * spread)
        rows.append(
            {
                "from_s": float(first) * grid.width_s,
                "to_s": float(last) * grid.width_s,
                "slow_ratio": ratio,
                "slow_ratio_low": low,
                "slow_ratio_high": high,
                "slow_calls": int(slow.sum()),
            }
        )
    return rows
