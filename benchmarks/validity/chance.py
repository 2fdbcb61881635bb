"""Trains of chance over real logs (A/A): nothing was done at those times, so nothing may be said of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pgtrace.analysis import verdicts
from pgtrace.analysis.effect import FEWEST_EVENTS
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Floats

from .made import Events, Run, events, executions, judge
from .scenarios import Row, share

FORMS = ("regular", "irregular", "of chance", "clustered")
#: events are in at most this share of the log
_MOST_INSIDE = 0.4
_SHORTEST_S, _LONGEST_S, _FEWEST, _MOST = 1.0, 20.0, 8, 60
#: Kolmogorov and Smirnov's limit for 1 % (the distance times the root of the number of values)
_UNIFORM = 1.63


def train_of_chance(rng: np.random.Generator, span: float, form: str) -> Events:
    """8 to 60 events of 1 to 20 s, fewer and shorter where the log is short."""
    room = _MOST_INSIDE * span
    length = float(np.exp(rng.uniform(np.log(_SHORTEST_S), np.log(min(_LONGEST_S, room / _FEWEST)))))
    count = int(rng.integers(_FEWEST, max(int(min(_MOST, room / length)), _FEWEST) + 1))
    if form == "regular":
        return events(rng, span, count, length, 0.0)
    if form == "irregular":
        return events(rng, span, count, length, 0.6)
    if form == "of chance":
        begins = np.sort(rng.uniform(0, span - length, count))
    else:  # a few places around which they crowd
        middles = rng.uniform(0, span, max(count // 6, 2))
        begins = np.sort((rng.choice(middles, count) + rng.laplace(0, 1.5 * length, count)) % (span - length))
    return begins, begins + length * rng.uniform(0.5, 1.5, count)


def nothing_anywhere(rng: np.random.Generator, name: str, real: Run, trains: int, at_once: int) -> Iterator[Row]:
    """Trains of every form, ``at_once`` of them as kinds of one analysis."""
    found, first = executions(real), float(real.starts.min())
    span = float(real.starts.max()) - first
    findings: list[Finding] = []
    for _ in range(max(trains // at_once, 1)):
        kinds = {}
        for number in range(at_once):
            begins, ends = train_of_chance(rng, span, FORMS[int(rng.integers(len(FORMS)))])
            kinds[f"train {number}"] = (begins + first, ends + first)
        findings += judge(found, kinds)
    enough = [one for one in findings if one.effect.events >= FEWEST_EVENTS]
    whole = [one for one in enough if one.shape is None]
    single = [one for one in enough if one.shape is not None]
    case = f"{name}, {at_once} at once" if at_once > 1 else f"{name}, one at a time"
    yield Row(
        "A/A", case, "trains with p < .05, %", share([one.effect.p_value < 0.05 for one in whole]), 0, *_five(whole)
    )
    yield Row("A/A", case, "trains with q < .05, %", share([one.q_value < 0.05 for one in whole]), 0, *_five(whole))
    said = [one.verdict in (verdicts.ASSOCIATED, verdicts.NOT_SEPARABLE, verdicts.CLOCK) for one in whole]
    yield Row("A/A", case, "anything said of a train, %", share(said), 0, *_five(whole))
    if single:
        said = [one.verdict == verdicts.ASSOCIATED for one in single]
        yield Row("A/A", case, "single queries called associated, %", share(said), 0, 5, len(single))


def once_by_chance(rng: np.random.Generator, name: str, real: Run, times: int) -> Iterator[Row]:
    """One event at a time of chance: how often is it told of?"""
    found, first = executions(real), float(real.starts.min())
    span = float(real.starts.max()) - first
    told = []
    for _ in range(times):
        length = float(rng.uniform(_SHORTEST_S, min(_LONGEST_S, 0.2 * span)))
        begin = first + float(rng.uniform(0, span - length))
        judgement = judge(found, {"once": (np.asarray([begin]), np.asarray([begin + length]))})
        told.append(any(verdicts.is_coincidence(one) for one in judgement if one.shape is None))
    yield Row("A/A", f"{name}, one event", "told as a coincidence, %", share(told), 0, *_five(told))


def uneven(p_values: Floats) -> float:
    """How far p-values are from uniform on the side of too small ones; above 1.63 is no chance (1 %)."""
    ordered = np.sort(p_values)
    above = np.arange(1, len(ordered) + 1) / len(ordered) - ordered
    return float(np.max(above) * np.sqrt(len(ordered)))


def uniform_row(question: str, case: str, p_values: Floats) -> Row:
    """Whether p-values are no smaller than chance makes them."""
    return Row(question, case, "p too small (Kolmogorov-Smirnov)", uneven(p_values), -np.inf, _UNIFORM, len(p_values))


def _five(cases: list[Finding] | list[bool]) -> tuple[float, int]:
    """5 %, and how many cases there are."""
    return 5.0, len(cases)
