"""What is planted, and what must come of it: one function per question, each returning rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pgtrace.analysis import verdicts
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Floats
from pgtrace.analysis.slower import slower

from .made import Events, Run, events, executions, judge, mix, of_all, replayed

SECONDS = 1440.0
KINDS_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what was measured, its value, and the limit that it keeps (``low <= value <= high``)."""

    question: str
    case: str
    measured: str
    value: float
    low: float
    high: float
    replicates: int

    @property
    def is_kept(self) -> bool:
        """Whether the limit is kept."""
        return self.low <= self.value <= self.high


def share(hits: list[bool]) -> float:
    """Hits in percent."""
    return 100.0 * sum(hits) / max(len(hits), 1)


def nothing_there(rng: np.random.Generator, name: str, real: Run, trains: int) -> Iterator[Row]:
    """A/A: trains of chance over a log in which nothing was done to anyone."""
    found = executions(real)
    span = float(real.starts.max() - real.starts.min())
    findings: list[Finding] = []
    for _ in range(max(trains // KINDS_AT_ONCE, 1)):
        kinds = {}
        for number in range(KINDS_AT_ONCE):
            count = int(rng.integers(8, 13 if span < 300 else 40))
            length = float(rng.uniform(0.05, 0.4)) * span / count
            begins, ends = events(rng, span, count, length, float(rng.choice([0.0, 0.3, 0.6])))
            kinds[f"train {number}"] = (begins + real.starts.min(), ends + real.starts.min())
        findings += [one for one in judge(found, kinds) if one.shape is None]
    values = [one.q_value < 0.05 for one in findings]
    yield Row("nothing there", name, "trains with q < .05, %", share(values), 0, 5, len(findings))
    said = [one.verdict == verdicts.ASSOCIATED for one in findings]
    yield Row("nothing there", name, "called associated, %", share(said), 0, 5, len(findings))


def planted(
    rng: np.random.Generator, name: str, real: Run | None, factor: float, from_ms: float, count: int, times: int
) -> Iterator[Row]:
    """Executions that start in events take ``factor`` times as long: is it seen, and how large?"""
    case = f"{name}, x{factor:g}, {count} events" + (f", from {from_ms:g} ms" if from_ms else "")
    seen, scale, truths, covered = [], [], [], []
    for _ in range(times):
        base = replayed(rng, real, SECONDS) if real is not None else mix(rng, SECONDS)
        train = events(rng, SECONDS, count, 10.0)
        found = executions(base.slowed(train, factor), from_ms)
        finding = of_all(judge(found, {"made": train}), "made")
        # of all executions of the draw: how many more would be slow with the effect than are without it
        limit = dict(zip(found.shapes["fingerprint"], finding.thresholds, strict=True))
        limits = np.asarray([limit.get(f"q{shape}", np.inf) for shape in range(int(base.shapes.max()) + 1)])
        limits = limits[base.shapes]
        with_it, without = (int(np.sum(base.durations * by > limits)) for by in (factor, 1.0))
        truths.append(with_it / max(without, 1))
        covered.append(finding.effect.low <= truths[-1] <= finding.effect.high)
        seen.append(finding.verdict == verdicts.ASSOCIATED)
        longer = slower(found, finding).times
        scale += [longer] if longer is not None else []
    truth = float(np.median(truths))
    power = 95.0 if factor >= 1.5 and count >= 24 else 0.0
    yield Row("planted", case, "called associated, %", share(seen), power, 100, times)
    yield Row(
        "planted",
        case,
        f"95 % intervals over the true {truth:.2f}, %",
        share(covered),
        least_coverage(times),
        100,
        times,
    )
    yield Row(
        "planted",
        case,
        f"times slower, median (true {factor:g})",
        float(np.median(scale)),
        factor * 0.9,
        factor * 1.1,
        times,
    )


def least_coverage(times: int) -> float:
    """93 %, as many tries as make it sure; of fewer, what two standard errors leave of 95."""
    return min(93.0, 95.0 - 200 * float(np.sqrt(0.05 * 0.95 / times)))


def unlike(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """No effect, under what has fooled others: long executions, drift, noise, clients that wait."""

    def case(name: str, make: Callable[[], tuple[Run, Events]], naive: bool = False) -> Iterator[Row]:
        ratios, said, any_overlap = [], [], []
        for _ in range(times):
            run, train = make()
            finding = of_all(judge(executions(run), {"made": train}), "made")
            ratios.append(finding.effect.ratio)
            said.append(finding.effect.p_value < 0.05)
            any_overlap.append(overlap_ratio(run, train))
        yield Row("no effect", name, "rate ratio, median", float(np.median(ratios)), 0.9, 1.1, times)
        yield Row("no effect", name, "p < .05, %", share(said), 0, 10, times)
        if naive:
            worse = float(np.median(any_overlap))
            yield Row("no effect", name, "the same by overlap, for comparison", worse, 0, np.inf, times)

    def long_ones() -> tuple[Run, Events]:
        run = mix(rng, SECONDS, 20.0, 2)
        tail = rng.pareto(1.1, len(run.starts)) * 200
        return Run(run.starts, run.durations + np.minimum(tail, 60_000), run.shapes), events(rng, SECONDS, 40, 3.0)

    def drifting_mix() -> tuple[Run, Events]:
        run = mix(rng, SECONDS, 40.0, 2)
        heavy = rng.random(len(run.starts)) < 0.1 + 0.8 * run.starts / SECONDS
        durations = np.where(heavy, 20.0, 2.0) * rng.lognormal(0, 0.8, len(run.starts))
        return Run(run.starts, durations, heavy.astype(np.int64)), events(rng, SECONDS, 24, 10.0)

    def noisy() -> tuple[Run, Events]:
        run = mix(rng, SECONDS)
        return noise(rng, run, 0.95, 0.15), events(rng, SECONDS, 24, 10.0)

    def over_the_day() -> tuple[Run, Events]:
        run = mix(rng, SECONDS)
        level = np.exp(0.8 * np.sin(2 * np.pi * run.starts / SECONDS))
        return Run(run.starts, run.durations * level, run.shapes), events(rng, SECONDS, 24, 10.0)

    def waiting_clients() -> tuple[Run, Events]:
        train = events(rng, SECONDS, 24, 10.0)
        return closed_loop(rng, SECONDS, train, 1.0), train

    yield from case("some executions longer than the events", long_ones, naive=True)
    yield from case("the mix of queries drifts", drifting_mix)
    yield from case("autocorrelated load (AR 0.95)", noisy)
    yield from case("load as over a day", over_the_day)
    yield from case("clients that wait for the answer", waiting_clients)


def overlap_ratio(run: Run, train: Events) -> float:
    """What comes of it if an execution belongs to every event that it overlaps: the share of slow ones, in by out."""
    begins, ends = train
    stops = run.starts + run.durations / 1000
    place = np.searchsorted(begins, stops, "left") - 1
    touched = (place >= 0) & (run.starts < ends[np.maximum(place, 0)])
    slow = run.durations > np.quantile(run.durations, 0.9)
    return float(np.mean(slow[touched]) / np.mean(slow[~touched]))


def noise(rng: np.random.Generator, run: Run, keep: float, size: float) -> Run:
    """Load that comes and goes: an autoregressive process by the second multiplies the durations."""
    steps = int(run.starts.max()) + 2
    level = np.zeros(steps)
    shocks = rng.normal(0, size, steps)
    for second in range(1, steps):
        level[second] = keep * level[second - 1] + shocks[second]
    return Run(run.starts, run.durations * np.exp(level[run.starts.astype(np.int64)]), run.shapes)


def closed_loop(rng: np.random.Generator, seconds: float, train: Events, factor: float, clients: int = 6) -> Run:
    """Clients that ask again some time after the answer came."""
    starts: list[float] = []
    durations: list[float] = []
    begins, ends = train
    for _ in range(clients):
        now, number = float(rng.uniform(0, 0.3)), 0
        taken = 20.0 * rng.lognormal(0, 0.8, int(seconds * 12))
        pauses = rng.exponential(0.15, len(taken))
        while now < seconds and number < len(taken):
            place = int(np.searchsorted(begins, now, "right")) - 1
            duration = taken[number] * (factor if place >= 0 and now < ends[place] else 1.0)
            starts.append(now)
            durations.append(float(duration))
            now += duration / 1000 + pauses[number]
            number += 1
    order = np.argsort(starts)
    return Run(np.asarray(starts)[order], np.asarray(durations)[order], np.zeros(len(starts), np.int64))


def said(rows: list[Finding], wanted: str) -> list[bool]:
    """Which have that verdict."""
    return [one.verdict == wanted for one in rows]


def each(times: int, make: Callable[[], list[Finding]], *kinds: str) -> dict[str, list[Finding]]:
    """The findings about all queries of each kind, over many tries."""
    found: dict[str, list[Finding]] = {kind: [] for kind in kinds}
    for _ in range(times):
        judgement = make()
        for kind in kinds:
            found[kind].append(of_all(judgement, kind))
    return found


def lengthened(train: Events, before: float, after: float) -> tuple[Floats, Floats]:
    """Events that begin and end so many seconds earlier and later."""
    return train[0] - before, train[1] + after
