"""What must not be mistaken: two kinds at one time, a clock, few events, a coarse clock, a burst of chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pgtrace.analysis import verdicts
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Floats

from .made import Events, Run, events, executions, judge, mix, within
from .scenarios import SECONDS, Row, closed_loop, each, lengthened, said, share


def together(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """Two kinds of events, of which one has the effect."""

    def inseparable() -> list[Finding]:
        train = events(rng, SECONDS, 24, 10.0)
        other = (train[0] + rng.uniform(-0.3, 0.3, 24), train[1] + rng.uniform(-0.3, 0.3, 24))
        return judge(executions(mix(rng, SECONDS).slowed(train, 2.0)), {"one": train, "other": other})

    def separable() -> list[Finding]:
        train = events(rng, SECONDS, 24, 10.0)
        some = rng.random(24) < 0.5
        begins = np.where(some, train[0] + rng.uniform(-4, 4, 24), train[1] + rng.uniform(5, 15, 24))
        order = np.argsort(begins)
        other = (begins[order], begins[order] + 9.0)
        return judge(executions(mix(rng, SECONDS).slowed(train, 2.0)), {"one": train, "other": other})

    found = each(times, inseparable, "one", "other")
    both = [a and b for a, b in zip(*(said(found[kind], verdicts.NOT_SEPARABLE) for kind in found), strict=True)]
    yield Row("two kinds", "always at the same time", "both called not separable, %", share(both), 95, 100, times)
    named = [one.other == "other" for one in found["one"]]
    yield Row("two kinds", "always at the same time", "the other is named, %", share(named), 95, 100, times)
    found = each(times, separable, "one", "other")
    right = share(said(found["one"], verdicts.ASSOCIATED))
    wrong = share(said(found["other"], verdicts.ASSOCIATED))
    yield Row("two kinds", "half of the time together", "the one with the effect associated, %", right, 90, 100, times)
    yield Row("two kinds", "half of the time together", "the other associated, %", wrong, 0, 5, times)


def clocks(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """A job that runs as often as the checkpoint, and checkpoints that are as regular without one."""
    every, count = 60.0, 24

    def checkpoints() -> Events:
        begins = np.arange(count, dtype=np.float64) * every + 20.0
        return begins, begins + 8.0

    def cron(before: float, after: float, factor: float, extra: float) -> list[Finding]:
        """The job begins and ends so many seconds before and after; ``extra`` executions a second are its own."""
        train = checkpoints()
        job = lengthened(train, before, after)
        run = mix(rng, SECONDS).slowed(job, factor)
        if extra:
            more = mix(rng, SECONDS, extra)
            more = more.kept(within(more.starts, job))
            starts = np.concatenate((run.starts, more.starts))
            order = np.argsort(starts)
            run = Run(
                starts[order],
                np.concatenate((run.durations, more.durations * factor))[order],
                np.concatenate((run.shapes, more.shapes))[order],
            )
        return judge(executions(run), {"checkpoint": train})

    cases = {
        "begins before the checkpoint": (12.0, 4.0, 2.0, 0.0),
        "begins long before the checkpoint": (20.0, 0.0, 2.0, 0.0),
        "at the same time, with work of its own": (0.0, 0.0, 2.0, 40.0),
        "begins before it, with work of its own": (5.0, 5.0, 2.0, 40.0),
    }
    for name, (before, after, factor, extra) in cases.items():
        found = each(times, lambda b=before, a=after, f=factor, e=extra: cron(b, a, f, e), "checkpoint")["checkpoint"]  # type: ignore[misc]
        yield Row(
            "a clock", f"cron {name}", "called associated, %", share(said(found, verdicts.ASSOCIATED)), 0, 5, times
        )
        named = share(said(found, verdicts.CLOCK))
        yield Row("a clock", f"cron {name}", "called a clock, %", named, 90, 100, times)

    def alone() -> list[Finding]:
        return judge(executions(mix(rng, SECONDS).slowed(checkpoints(), 1.5)), {"checkpoint": checkpoints()})

    def with_aftermath() -> list[Finding]:
        run, train = mix(rng, SECONDS), checkpoints()
        since = run.starts - train[0][np.maximum(np.searchsorted(train[0], run.starts, "right") - 1, 0)]
        level: Floats = 1.0 + 1.0 * np.exp(-np.where(since >= 0, since, np.inf) / 6.0)
        return judge(executions(Run(run.starts, run.durations * level, run.shapes)), {"checkpoint": train})

    for name, make in (("checkpoints like clockwork", alone), ("the same with an aftermath", with_aftermath)):
        found = each(times, make, "checkpoint")["checkpoint"]
        yield Row(
            "a clock", f"none, {name}", "called associated, %", share(said(found, verdicts.ASSOCIATED)), 90, 100, times
        )


def limits(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """Few events, whole seconds, clients that wait, and a burst that happens once."""

    def few() -> list[Finding]:
        train = events(rng, SECONDS, 6, 10.0)
        return judge(executions(mix(rng, SECONDS).slowed(train, 3.0)), {"made": train})

    found = each(times, few, "made")["made"]
    yield Row(
        "limits",
        "6 events, x3",
        "called not enough events, %",
        share(said(found, verdicts.FEW_EVENTS)),
        100,
        100,
        times,
    )

    def seconds(length: float) -> list[Finding]:
        train = events(rng, SECONDS, 24, length, 0.4)
        return judge(executions(mix(rng, SECONDS).slowed(train, 2.0), resolution_ms=1000.0), {"made": train})

    found = each(times, lambda: seconds(0.6), "made")["made"]
    yield Row(
        "limits",
        "times in seconds, events of 0.6 s",
        "too coarse, %",
        share(said(found, verdicts.COARSE)),
        100,
        100,
        times,
    )
    found = each(times, lambda: seconds(10.0), "made")["made"]
    yield Row(
        "limits",
        "times in seconds, events of 10 s, x2",
        "associated, %",
        share(said(found, verdicts.ASSOCIATED)),
        95,
        100,
        times,
    )

    def waiting() -> list[Finding]:
        train = events(rng, SECONDS, 24, 10.0)
        return judge(executions(closed_loop(rng, SECONDS, train, 1.5)), {"made": train})

    found = each(max(times // 2, 5), waiting, "made")["made"]
    yield Row(
        "limits",
        "clients that wait, x1.5",
        "associated, %",
        share(said(found, verdicts.ASSOCIATED)),
        95,
        100,
        len(found),
    )

    def once(factor: float) -> list[Finding]:
        begin = float(rng.uniform(60, 200))
        train = (np.asarray([begin]), np.asarray([begin + 25.0]))
        return judge(executions(mix(rng, 300.0).slowed(train, factor)), {"made": train})

    for factor, low, high in ((2.0, 90, 100), (1.0, 0, 5)):
        told = [verdicts.is_coincidence(one) for one in each(times, lambda f=factor: once(f), "made")["made"]]  # type: ignore[misc]
        yield Row(
            "limits", f"one burst of 25 s, x{factor:g}", "told as a coincidence, %", share(told), low, high, times
        )
