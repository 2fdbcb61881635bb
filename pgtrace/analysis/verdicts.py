"""What a test comes to: one of a few verdicts, with the reason where it is not the number itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pgtrace.analysis.effect import FEWEST_EVENTS, measure
from pgtrace.analysis.executions import Executions
from pgtrace.analysis.finding import Finding, q_values
from pgtrace.analysis.gaps import gaps_of
from pgtrace.analysis.grid import Counts
from pgtrace.analysis.overlap import Apart, set_apart
from pgtrace.analysis.windows import is_regular

ASSOCIATED = "associated"
RECORDED = "recorded"
FEW_EVENTS = "not enough events"
NOT_SEPARABLE = "not separable"
CLOCK = "confounded by a clock"
COARSE = "resolution too coarse"
NO_EFFECT = "no effect seen"
HIDDEN = "fast durations not logged"

_FALSE_DISCOVERIES = 0.05
#: an effect smaller than this is not worth a name
_SMALLEST_RATIO = 1.1
#: few events: how rare a coincidence must be, and how large, to be told of
_COINCIDENCE_P, _COINCIDENCE_Q, _COINCIDENCE_RATIO = 0.05, 0.1, 1.5
#: a smallest ratio to be seen above this says that the log could not show an effect
_BLIND = 3.0
#: and so does less than this many slow executions to be expected
_FEWEST_EXPECTED = 3.0
#: of a clock without an effect: so many times as often slow in a part of the gaps, and in the events
_CLOCK_RATIO = 1.3
#: the family of events that are the work of others
_OF_OTHERS = "WAL burst"
#: other work that arrives with the events: so many times as many executions
_MORE_WORK = 1.25


def judged(executions: Executions, findings: list[Finding]) -> list[Finding]:
    """All findings of a server with q-values and verdicts."""
    valued = _with_q(findings)
    first = [replace(finding, verdict=_alone(executions, finding)) for finding in valued]
    timed = [_against_clock(executions, finding) for finding in first]
    return _against_each_other(executions, timed)


def is_coincidence(finding: Finding) -> bool:
    """Whether few events met slowness so closely that it should be told of."""
    effect = finding.effect
    return (
        finding.verdict == FEW_EVENTS
        and effect.p_value <= _COINCIDENCE_P
        and finding.q_value <= _COINCIDENCE_Q
        and effect.ratio >= _COINCIDENCE_RATIO
        # what only has a before or an after may be the log's beginning, or its end
        and effect.between > effect.events / 2
        and effect.slow_in - effect.expected_in >= 3 * np.sqrt(effect.slow_in + 1)
    )


def _with_q(findings: list[Finding]) -> list[Finding]:
    """Processes and single queries are families of tests apart, and so is what has too few events to be judged.

    So what is asked first is not drowned in what is asked beside it.
    """
    found = list(findings)
    family = [(one.shape is not None, one.effect.events < FEWEST_EVENTS) for one in findings]
    for wanted in set(family):
        places = [place for place, one in enumerate(family) if one == wanted]
        values = q_values(np.asarray([findings[place].effect.p_value for place in places]))
        for place, q_value in zip(places, values, strict=True):
            found[place] = replace(findings[place], q_value=float(q_value))
    return found


def _alone(executions: Executions, finding: Finding) -> str:
    effect, train = finding.effect, finding.kind.train
    resolution_s = executions.logging.resolution_ms / 1000
    if resolution_s >= 1 and float(np.median(train.lengths)) * executions.grid.width_s <= 2 * resolution_s:
        return COARSE
    if effect.events < FEWEST_EVENTS:
        return FEW_EVENTS
    if finding.q_value <= _FALSE_DISCOVERIES and effect.low > 1 and effect.ratio >= _SMALLEST_RATIO:
        return ASSOCIATED
    hidden = effect.smallest_seen > _BLIND or effect.expected_in < _FEWEST_EXPECTED
    return HIDDEN if executions.logging.is_censored and hidden else NO_EFFECT


def _against_clock(executions: Executions, finding: Finding) -> Finding:
    """Whether the gaps look like the events, or other work comes with them, as what a clock starts would."""
    regular = is_regular(finding.kind.train)
    if finding.verdict != ASSOCIATED and not (finding.verdict == NO_EFFECT and regular):
        return finding
    setting = finding.setting
    counts = finding.counts(executions)
    gaps = gaps_of(counts, finding.kind.train, setting.guard)
    if finding.verdict == NO_EFFECT:  # slow before the events as well as in them hides that they are slow
        if gaps is None or gaps.elevated < _CLOCK_RATIO or gaps.inside_low < _CLOCK_RATIO:
            return finding
        remark = f"executions are slow in a part of the gaps too ({gaps.elevated:.1f} times as often as in the rest)"
        return replace(finding, verdict=CLOCK, remark=remark)
    if gaps is not None and gaps.elevated > 1 + 0.25 * (finding.effect.ratio - 1):
        when = "in the gaps between the events too" if regular else "before the events begin"
        return replace(
            finding,
            verdict=CLOCK if regular else finding.verdict,
            remark=f"executions are slow {when} ({gaps.elevated:.1f} times as often as in the rest of the gap)",
        )
    if regular and not executions.logging.is_censored and finding.shape is None:
        arriving = executions.calls(setting.shapes)
        seconds = np.where(executions.observed, executions.grid.width_s, 0.0)
        work = Counts.of_bins(seconds, arriving, arriving)
        train = finding.kind.train
        load = measure(work, train, setting.controls(train, executions.grid.bins), with_p=False)
        if load.low > _MORE_WORK:
            return replace(
                finding, verdict=CLOCK, remark=f"{load.ratio:.1f} times as many executions start while the events go on"
            )
    return finding


def _against_each_other(executions: Executions, findings: list[Finding]) -> list[Finding]:
    """Of kinds that go on at the same time, which is it?"""
    result = list(findings)
    for shape in {finding.shape for finding in findings}:
        chosen: dict[str, int] = {}
        for place, one in enumerate(findings):
            if one.shape != shape or one.verdict != ASSOCIATED:
                continue
            best = chosen.get(one.kind.family)
            if best is None or one.effect.excess_s > findings[best].effect.excess_s:
                chosen[one.kind.family] = place
        if len(chosen) > 1:
            _set_apart(executions, findings, result, chosen)
    return result


def _set_apart(executions: Executions, findings: list[Finding], result: list[Finding], chosen: dict[str, int]) -> None:
    """Write the verdicts of the chosen findings, one per family, and of all others of their families.

    A burst of WAL is what others do: it is held against them, and they are not held against it.
    """
    doers = [place for family, place in chosen.items() if family != _OF_OTHERS]
    apart = dict(zip(doers, _apart(executions, findings, doers), strict=True)) if len(doers) > 1 else {}
    if _OF_OTHERS in chosen:
        everything = [*doers, chosen[_OF_OTHERS]]
        apart[chosen[_OF_OTHERS]] = _apart(executions, findings, everything)[-1]
    for place, (one, other) in apart.items():
        finding = findings[place]
        # what has an effect with the others held equal stands; what has time of its own and none there does not
        if one.low > 1 and one.is_separable:
            continue
        if one.is_separable and one.high < finding.effect.low:
            verdict, remark = NO_EFFECT, f"where it went on without {other}, executions were not slower"
        else:
            verdict = NOT_SEPARABLE
            remark = f"{100 - 100 * one.alone:.0f} % of what started in it also started in {other}"
        for member, candidate in enumerate(findings):
            same = (candidate.shape, candidate.kind.family) == (finding.shape, finding.kind.family)
            if same and candidate.verdict == ASSOCIATED:
                result[member] = replace(candidate, verdict=verdict, other=other, remark=remark)


def _apart(executions: Executions, findings: list[Finding], places: list[int]) -> list[tuple[Apart, str]]:
    """Each finding with the others held equal, and the kind that it shares most time with."""
    kinds = [findings[place].kind for place in places]
    shape = findings[places[0]].shape
    allowed = np.logical_and.reduce([findings[place].setting.shapes for place in places])
    counts = executions.counts(executions.usual, shape if shape is not None else allowed)
    spacing = max(float(np.median(np.diff(kind.train.starts))) for kind in kinds)
    found = set_apart(counts, [kind.train for kind in kinds], int(spacing) + 1)
    return [(one, kinds[one.with_most].kind) for one in found]
