"""More of benchmarks/validity, small and seeded: trains of every form, timers beside checkpoints, waiting clients."""

from __future__ import annotations

import numpy as np
import pytest
from test_validity import kept

from benchmarks.validity import chance, harder, timers
from benchmarks.validity.__main__ import SAMPLES, real_runs
from benchmarks.validity.made import Run, executions, judge, mix, of_all
from benchmarks.validity.scenarios import SECONDS
from pgtrace.analysis import verdicts


@pytest.fixture(scope="module")
def real() -> Run:
    """The executions of a real log in which all durations are logged."""
    ((_, run),) = real_runs([SAMPLES / "pg16-mixed"]).items()
    return run


def test_trains_of_every_form_over_a_real_log_are_rarely_said_anything_of(real: Run) -> None:
    rng, said = np.random.default_rng(12), 0
    found, first = executions(real), float(real.starts.min())
    span = float(real.starts.max()) - first
    for number in range(24):
        begins, ends = chance.train_of_chance(rng, span, chance.FORMS[number % len(chance.FORMS)])
        said += of_all(judge(found, {"made": (begins + first, ends + first)}), "made").verdict == verdicts.ASSOCIATED
    # at a rate of 5 %, more than 4 of 24 come once in 170 times
    assert said <= 4


def test_one_event_of_chance_is_rarely_told_as_a_coincidence(real: Run) -> None:
    assert kept(chance.once_by_chance(np.random.default_rng(2), "real", real, 25)) == []


@pytest.mark.parametrize("name", [job.name for job in timers.JOBS if job.can_be_told])
def test_a_checkpoint_is_not_blamed_for_what_a_timer_started(name: str) -> None:
    rng = np.random.default_rng(6)
    (job,) = (one for one in timers.JOBS if one.name == name)
    for _ in range(2):
        run, train = timers.with_job(rng, job)
        assert of_all(judge(executions(run), {"checkpoint": train}), "checkpoint").verdict != verdicts.ASSOCIATED


def test_fewer_than_eight_events_are_never_more_than_that() -> None:
    assert kept(timers.fewer(np.random.default_rng(8), 7)) == []


def test_an_effect_keeps_its_size_with_clients_that_wait_and_nine_idle_kinds_beside_it() -> None:
    rng = np.random.default_rng(9)
    rows = [*harder.planted_beside(rng, "made", None, 1.5, 0.0, 24, 2), *harder.in_weather(rng, 2)]
    wanted = ("called associated", "rate ratio by truth", "idle kinds")
    assert kept(row for row in rows if row.measured.startswith(wanted)) == []


def test_a_query_of_eight_that_is_slowed_is_the_only_one_associated() -> None:
    rng = np.random.default_rng(10)
    run, (begins, ends) = mix(rng, SECONDS, 40.0, 8), timers.checkpoints(rng, 5.0)
    inside = harder.factors_of(run, (begins, ends), 2.0)
    slowed = Run(run.starts, run.durations * np.where(run.shapes == 3, inside, 1.0), run.shapes)
    found = executions(slowed)
    names = found.shapes["fingerprint"]
    judgement = judge(found, {"checkpoint": (begins, ends)})
    blamed = {names[one.shape] for one in judgement if one.shape is not None and one.verdict == verdicts.ASSOCIATED}
    assert blamed == {"q3"}
