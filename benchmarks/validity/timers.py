"""A job that a timer starts beside the checkpoint, in all its variants, and regular checkpoints without such a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pgtrace.analysis import verdicts
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.grid import Floats

from .made import Events, Run, events, executions, judge, mix, of_all, within
from .scenarios import SECONDS, Row, noise, share

EVERY, COUNT, LENGTH = 60.0, 24, 8.0


@dataclass(frozen=True, slots=True)
class Job:
    """Begins so many seconds after the checkpoint (less: before), goes on for ``seconds``, slows others by ``factor``.

    ``own`` are its executions per second, ``jitter`` how much its beginning varies.
    """

    name: str
    offset: float
    seconds: float
    own: float = 0.0
    jitter: float = 0.0
    factor: float = 2.0
    #: whether anything in a log could tell it from a checkpoint with that effect
    can_be_told: bool = True


JOBS = (
    Job("12 s before, unseen", -12, 24),
    Job("5 s before, unseen", -5, 16),
    Job("5 s before, varying by 2 s, unseen", -5, 16, jitter=2),
    Job("30 s after, unseen", 30, 15),
    Job("at the same time, with executions of its own", 0, LENGTH, own=40),
    Job("2 s after, with executions of its own", 2, LENGTH, own=40),
    Job("5 s before, with executions of its own", -5, 16, own=40),
    Job("at the same time, unseen", 0, LENGTH, can_be_told=False),
    Job("4 s after, unseen", 4, 12, can_be_told=False),
)


def checkpoints(rng: np.random.Generator, jitter: float = 0.0, length: float = LENGTH) -> Events:
    """Checkpoints like clockwork."""
    begins = np.arange(COUNT) * EVERY + 25.0 + rng.uniform(-jitter, jitter, COUNT)
    return begins, begins + length


def with_job(rng: np.random.Generator, job: Job) -> tuple[Run, Events]:
    """A log with checkpoints that do nothing, and the job."""
    train = checkpoints(rng)
    begins = train[0] + job.offset + rng.uniform(-job.jitter, job.jitter, COUNT)
    working = (begins, begins + job.seconds)
    run = mix(rng, SECONDS).slowed(working, job.factor)
    if not job.own:
        return run, train
    more = mix(rng, SECONDS, job.own)
    more = more.kept(within(more.starts, working)).slowed(working, job.factor)
    starts = np.concatenate((run.starts, more.starts))
    order = np.argsort(starts)
    joined = np.concatenate((run.durations, more.durations)), np.concatenate((run.shapes, more.shapes))
    return Run(starts[order], joined[0][order], joined[1][order]), train


def jobs(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """Is the checkpoint blamed for what the job did?"""
    for job in JOBS:
        found = []
        for _ in range(times):
            run, train = with_job(rng, job)
            found.append(of_all(judge(executions(run), {"checkpoint": train}), "checkpoint"))
        limit, named = (5.0, 90.0) if job.can_be_told else (np.inf, -np.inf)
        note = "" if job.can_be_told else " (nothing in a log could tell)"
        yield Row(
            "a timer",
            job.name + note,
            "checkpoint called associated, %",
            _said(found, verdicts.ASSOCIATED),
            0,
            limit,
            times,
        )
        away = not -job.seconds <= job.offset <= LENGTH  # far from the checkpoint there is nothing to explain
        yield Row(
            "a timer",
            job.name + note,
            "called a clock, %",
            _said(found, verdicts.CLOCK),
            -np.inf if away else named,
            np.inf,
            times,
        )


def regular(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """No job: checkpoints that have an effect are not called a clock, those without are not either."""

    def plain(factor: float, jitter: float, length: float = LENGTH) -> tuple[Run, Events]:
        train = checkpoints(rng, jitter, length)
        return mix(rng, SECONDS).slowed(train, factor), train

    def fading() -> tuple[Run, Events]:
        train, run = checkpoints(rng), mix(rng, SECONDS)
        since = _since(run.starts, train[1])
        level = 1 + 0.5 * np.clip(1 - since / ((EVERY - LENGTH) / 3), 0, 1)
        return Run(run.starts, run.durations * np.where(within(run.starts, train), 1.5, level), run.shapes), train

    def noisy(factor: float) -> tuple[Run, Events]:
        train = checkpoints(rng)
        return noise(rng, mix(rng, SECONDS), 0.9, 0.1).slowed(train, factor), train

    cases: list[tuple[str, float, Callable[[], tuple[Run, Events]]]] = [
        ("x1.5, to the second", 1.5, lambda: plain(1.5, 0.0)),
        ("x1.5, varying by 3 s", 1.5, lambda: plain(1.5, 3.0)),
        ("x1.5, and fading over a third of the gap", 1.5, fading),
        ("x1.5, autocorrelated load (AR 0.9, 23 %)", 1.5, lambda: noisy(1.5)),
        ("x2, 9/10 of the time", 2.0, lambda: plain(2.0, 0.0, 54.0)),
        ("x1, to the second", 1.0, lambda: plain(1.0, 0.0)),
        ("x1, autocorrelated load (AR 0.9, 23 %)", 1.0, lambda: noisy(1.0)),
    ]
    for name, factor, make in cases:
        found = []
        for _ in range(times):
            run, train = make()
            found.append(of_all(judge(executions(run), {"checkpoint": train}), "checkpoint"))
        low, high = (90.0, 100.0) if factor > 1 else (0.0, 5.0)
        case = f"none, checkpoints {name}"
        yield Row("a timer", case, "called associated, %", _said(found, verdicts.ASSOCIATED), low, high, times)
        yield Row("a timer", case, "called a clock, %", _said(found, verdicts.CLOCK), 0, 5, times)


def fewer(rng: np.random.Generator, times: int) -> Iterator[Row]:
    """One to seven events, x3: what is said."""
    found = []
    for number in range(times):
        train = events(rng, SECONDS, 1 + number % 7, 10.0)
        found += judge(executions(mix(rng, SECONDS).slowed(train, 3.0)), {"made": train})
    named = _said(found, verdicts.FEW_EVENTS)
    yield Row(
        "few events", "1 to 7 events, x3, each query too", "called not enough events, %", named, 100, 100, len(found)
    )


def _since(times: Floats, moments: Floats) -> Floats:
    """Seconds since the last of the moments; infinite before the first."""
    place = np.searchsorted(moments, times, "right") - 1
    return np.where(place >= 0, times - moments[np.maximum(place, 0)], np.inf)


def _said(findings: list[Finding], verdict: str) -> float:
    return share([one.verdict == verdict for one in findings])
