"""Findings in words. "Associated with" is as far as a log can go; each sentence has the numbers that it rests on."""

from __future__ import annotations

from math import isfinite

from pgtrace.analysis import verdicts
from pgtrace.analysis.effect import FEWEST_EVENTS
from pgtrace.analysis.executions import Executions
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.recorded import Waits

_ONE_IN = 20


def certainty(finding: Finding) -> str:
    """How sure, in a word or two."""
    effect = finding.effect
    if finding.verdict == verdicts.ASSOCIATED:
        return "strong" if finding.q_value <= 0.01 and effect.low >= 1.2 else "moderate"
    if finding.verdict == verdicts.NOT_SEPARABLE:
        return "one of several"
    if verdicts.is_coincidence(finding):
        return "coincides, too few events"
    return {verdicts.NO_EFFECT: "none seen"}.get(finding.verdict, "cannot tell")


def evidence(finding: Finding, executions: Executions) -> str:
    """One sentence on what was seen."""
    effect, kind = finding.effect, finding.kind
    slow = "very slow" if finding.is_of_tail else "slow"
    seen = (
        f"{effect.slow_in:,.0f} {slow} executions started in {_count(effect.events, kind.kind)}, "
        f"{effect.expected_in:,.0f} expected from just before and after"
    )
    if finding.verdict == verdicts.ASSOCIATED:
        rest = f": {_ratio(finding)}, chance {_p(finding.q_value)}"
        return seen + rest + (f"; note that {finding.remark}" if finding.remark else "")
    if finding.verdict == verdicts.NOT_SEPARABLE:
        return f"{seen}: {_ratio(finding)}, but {finding.remark}"
    if finding.verdict == verdicts.CLOCK:
        return f"{seen}, but {finding.remark}: something else keeps the same time"
    if finding.verdict == verdicts.FEW_EVENTS:
        return f"{seen}; {FEWEST_EVENTS} events are needed for an interval"
    if finding.verdict == verdicts.COARSE:
        return "the log's times are whole seconds, and the events are shorter than two"
    if finding.verdict == verdicts.HIDDEN:
        return f"{seen}; durations below {executions.logging.from_ms:g} ms are not logged, which hides too much"
    if finding.remark:
        return f"{seen}, but {finding.remark}"
    return f"{seen}; {effect.smallest_seen:.1f} times as many would have been seen"


def waits_evidence(waits: Waits) -> str:
    """One sentence on waits for locks."""
    holder = f", held most often by process {waits.holder_pid}" if waits.holder_pid is not None else ""
    kind = f" ({waits.mode} on {waits.object})" if waits.object else ""
    number = "1 wait" if waits.waits == 1 else f"{waits.waits:,} waits"
    seconds = f"{waits.waited_s:,.1f} s in all, the longest {waits.longest_s:,.1f} s"
    return f"the server logged {number}, {seconds}{kind}{holder}"


def _ratio(finding: Finding) -> str:
    effect = finding.effect
    interval = f" ({effect.low:.1f} to {effect.high:.1f})" if isfinite(effect.high) else ""
    return f"{effect.ratio:.1f} times as many{interval}"


def _p(value: float) -> str:
    return "below 1 in 1000" if value < 0.001 else f"{value:.3f}"


def _count(events: int, kind: str) -> str:
    return f"{events:,} event{'' if events == 1 else 's'} ({kind})"
