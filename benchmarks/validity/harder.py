"""Planted effects under what servers are like: other events beside them, noise, drift, clients that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pgtrace.analysis import verdicts
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Booleans, Floats
from pgtrace.analysis.slower import slower

from .chance import FORMS, train_of_chance, uniform_row
from .made import Events, Run, events, executions, judge, mix, of_all, replayed, within
from .scenarios import SECONDS, Row, closed_loop, noise, share

#: kinds of events without any effect that are tested beside the one with one
IDLE_KINDS = 9
#: what is made: executions without the effect, the events, and by how much each execution is lengthened
Case = tuple[Run, Events, Floats]


@dataclass
class Tries:
    """What many tries came to."""

    seen: list[bool] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    #: times slower, by what is true of the draw
    times: list[float] = field(default_factory=list)
    p_values: list[float] = field(default_factory=list)
    false: list[bool] = field(default_factory=list)

    def add(
        self, run: Run, train: Events, factors: Floats, from_ms: float, idle: int, rng: np.random.Generator
    ) -> None:
        """One more: with the effect, and ``idle`` other kinds of events."""
        slowed = Run(run.starts, run.durations * factors, run.shapes)
        found = executions(slowed, from_ms)
        others = {f"idle {n}": train_of_chance(rng, SECONDS, FORMS[n % len(FORMS)]) for n in range(idle)}
        judgement = judge(found, {"made": train, **others})
        finding = of_all(judgement, "made")
        limits = _limits(finding, [str(name) for name in found.shapes["fingerprint"]], run)
        truth = true_ratio(run, factors, limits, within(run.starts, train))
        self.seen.append(finding.verdict == verdicts.ASSOCIATED and finding.q_value < 0.05)
        self.covered.append(finding.effect.low <= truth <= finding.effect.high)
        self.truths.append(truth)
        self.ratios.append(finding.effect.ratio)
        self.p_values.append(finding.effect.p_value)
        self.false += [one.verdict == verdicts.ASSOCIATED for one in judgement if one.kind.kind != "made"]
        longer = slower(found, finding).times
        if longer is not None:
            self.times.append(longer / true_times(run, factors, limits, within(run.starts, train)))


def _limits(finding: Finding, names: list[str], run: Run) -> Floats:
    """The limit of slow of each execution; none (infinite) for queries that were left out."""
    allowed: Booleans = finding.setting.shapes
    known = {
        name: limit if kept else np.inf for name, limit, kept in zip(names, finding.thresholds, allowed, strict=True)
    }
    by_shape = np.asarray([known.get(f"q{shape}", np.inf) for shape in range(int(run.shapes.max()) + 1)])
    return by_shape[run.shapes]


def true_ratio(run: Run, factors: Floats, limits: Floats, inside: Booleans) -> float:
    """How many times as many are slow with the effect: over all executions of the draw, by the effects that it had."""
    effects, weights = _effects(factors[inside])
    slow = [float(np.mean(run.durations * factor > limits)) for factor in effects]
    return float(np.average(slow, weights=weights)) / max(float(np.mean(run.durations > limits)), 1e-12)


def true_times(run: Run, factors: Floats, limits: Floats, inside: Booleans) -> float:
    """By how much the limit of slow must grow so that no more are slow with the effects that the draw had."""
    effects, weights = _effects(factors[inside])
    sizes = np.sort(run.durations / limits)
    wanted = float(np.mean(sizes > 1))
    low, high = 0.0, 2 * float(np.max(effects))
    for _ in range(30):
        middle = (low + high) / 2
        over = 1 - np.searchsorted(sizes, middle / effects, "right") / len(sizes)
        low, high = (middle, high) if np.average(over, weights=weights) > wanted else (low, middle)
    return high


def _effects(factors: Floats) -> tuple[Floats, Floats]:
    """The effects that executions had and how many had each; of many different ones, their fiftieths."""
    effects, calls = np.unique(factors, return_counts=True)
    if len(effects) < len(_MIDDLES):
        return effects, calls.astype(np.float64)
    return np.quantile(factors, _MIDDLES), np.ones(len(_MIDDLES))


_MIDDLES = (np.arange(50) + 0.5) / 50


def rows_of(question: str, case: str, tries: Tries, power: float, coverage: float) -> Iterator[Row]:
    """The table's rows of some tries."""
    count = len(tries.seen)
    truth = float(np.median(tries.truths))
    yield Row(question, case, "called associated with q < .05, %", share(tries.seen), power, 100, count)
    yield Row(
        question, case, f"interval covers the truth (median {truth:.2f}), %", share(tries.covered), coverage, 100, count
    )
    bias = float(np.median(np.asarray(tries.ratios) / np.asarray(tries.truths)))
    yield Row(question, case, "rate ratio by truth, median", bias, 0.9, 1.1, count)
    if tries.times:
        near = [abs(value - 1) <= 0.1 for value in tries.times]
        yield Row(question, case, "times slower within 10 % of the truth, %", share(near), 90, 100, len(near))
    if tries.false:
        yield Row(question, case, "idle kinds beside it associated, %", share(tries.false), 0, 5, len(tries.false))


def run_tries(
    rng: np.random.Generator, times: int, make: Callable[[], Case], from_ms: float = 0.0, idle: int = 0
) -> Tries:
    """Make and judge so many."""
    tries = Tries()
    for _ in range(times):
        run, train, factors = make()
        tries.add(run, train, factors, from_ms, idle, rng)
    return tries


def untied(rng: np.random.Generator, run: Run) -> Run:
    """Durations varied by 5 %: a replay has each many times, and a limit of slow that many equal has no true ratio."""
    return Run(run.starts, run.durations * rng.lognormal(0, 0.05, len(run.starts)), run.shapes)


def factors_of(run: Run, train: Events, factor: float) -> Floats:
    """The factor in events, 1 elsewhere."""
    return np.where(within(run.starts, train), factor, 1.0)


def planted_beside(
    rng: np.random.Generator, name: str, real: Run | None, factor: float, from_ms: float, count: int, times: int
) -> Iterator[Row]:
    """An effect, with other kinds of events tested beside it."""

    def make() -> Case:
        run = untied(rng, replayed(rng, real, SECONDS)) if real is not None else mix(rng, SECONDS)
        train = events(rng, SECONDS, count, 10.0)
        return run, train, factors_of(run, train, factor)

    tries = run_tries(rng, times, make, from_ms, IDLE_KINDS)
    case = f"{name}, x{factor:g}, {count} events" + (f", from {from_ms:g} ms" if from_ms else "")
    power = 95.0 if factor >= 1.5 and count >= 24 else 0.0
    yield from rows_of("injected", case, tries, power, 93 if count >= 24 else 90)


def in_weather(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """An effect of x1.5, 24 events, where the load is not steady, and where clients wait."""

    def noisy() -> Case:
        run, train = noise(rng, mix(rng, SECONDS), 0.95, 0.05), events(rng, SECONDS, 24, 10.0)
        return run, train, factors_of(run, train, 1.5)

    def daily() -> Case:
        run, train = over_the_day(rng), events(rng, SECONDS, 24, 10.0)
        return run, train, factors_of(run, train, 1.5)

    def waiting() -> Case:
        train = events(rng, SECONDS, 24, 10.0)
        slowed = closed_loop(rng, SECONDS, train, 1.5)
        factors = factors_of(slowed, train, 1.5)
        return Run(slowed.starts, slowed.durations / factors, slowed.shapes), train, factors

    def varied() -> Case:
        run, train = mix(rng, SECONDS), events(rng, SECONDS, 24, 10.0)
        each = np.maximum(rng.lognormal(np.log(1.5), 0.25, 24), 0.5)
        place = np.maximum(np.searchsorted(train[0], run.starts, "right") - 1, 0)
        return run, train, np.where(within(run.starts, train), each[place], 1.0)

    for name, make in (
        ("autocorrelated load (AR 0.95, 17 %)", noisy),
        ("durations and arrivals as over a day", daily),
        ("clients that wait for the answer", waiting),
        ("each event with an effect of its own", varied),
    ):
        yield from rows_of("injected", f"x1.5, 24 events, {name}", run_tries(rng, times, make), 95, 93)


def even_p(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """No effect: are p-values as uniform as they should be?"""

    def waiting() -> tuple[Run, Events]:
        train = events(rng, SECONDS, 24, 10.0)
        return closed_loop(rng, SECONDS, train, 1.0), train

    def drifting() -> tuple[Run, Events]:
        return over_the_day(rng), events(rng, SECONDS, 24, 10.0)

    def noisy() -> tuple[Run, Events]:
        return noise(rng, mix(rng, SECONDS), 0.95, 0.15), events(rng, SECONDS, 24, 10.0)

    for name, make in (
        ("clients that wait for the answer", waiting),
        ("durations and arrivals as over a day", drifting),
        ("autocorrelated load (AR 0.95, 48 %)", noisy),
    ):
        found = [
            of_all(judge(executions(run), {"made": train}), "made") for run, train in (make() for _ in range(times))
        ]
        p_values = np.asarray([one.effect.p_value for one in found])
        yield Row(
            "no effect", name, "p < .05, %", share([bool(p < 0.05) for p in p_values]), 0, 5 + 2 * _error(times), times
        )
        yield uniform_row("no effect", name, p_values)
        ratio = float(np.median([one.effect.ratio for one in found]))
        yield Row("no effect", name, "rate ratio, median", ratio, 0.9, 1.1, times)


def pile_ups(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """Twice something stands in everybody's way, for half a minute, and there is no word of it in the log."""
    question, case = "pile-ups", "two of 30 s, in which all take 20 times as long"

    def made(factor: float) -> Finding:
        run, train = mix(rng, SECONDS), events(rng, SECONDS, 24, 10.0)
        hindered = within(run.starts, events(rng, SECONDS, 2, 30.0))
        factors = np.where(hindered, 20.0, 1.0) * factors_of(run, train, factor)
        return of_all(judge(executions(Run(run.starts, run.durations * factors, run.shapes)), {"made": train}), "made")

    seen = [made(1.5).verdict == verdicts.ASSOCIATED for _ in range(times)]
    yield Row(question, f"{case}, x1.5", "called associated, %", share(seen), 90, 100, times)
    none = [made(1.0) for _ in range(times)]
    p_values = [bool(one.effect.p_value < 0.05) for one in none]
    yield Row(question, f"{case}, no effect", "p < .05, %", share(p_values), 0, 5 + 2 * _error(times), times)
    covered = [one.effect.low <= 1 <= one.effect.high for one in none]
    low = 95 - 2 * _error(times)
    yield Row(question, f"{case}, no effect", "interval covers 1, %", share(covered), low, 100, times)


def over_the_day(rng: np.random.Generator) -> Run:
    """More executions at noon than at night, and longer ones."""
    run = mix(rng, SECONDS, 60.0)
    wave = np.sin(2 * np.pi * run.starts / SECONDS)
    run = run.kept(rng.random(len(run.starts)) < 0.55 + 0.45 * wave)
    return Run(run.starts, run.durations * np.exp(0.8 * np.sin(2 * np.pi * run.starts / SECONDS)), run.shapes)


def _error(times: int) -> float:
    """The standard error, in percent, of a share of 5 % found in so many tries."""
    return 100 * float(np.sqrt(0.05 * 0.95 / times))
