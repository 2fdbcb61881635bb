"""What pgtrace.analysis promises: a planted effect is found with its size, and nothing is blamed that did nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_log import MadeLog, steady

import pgtrace
from benchmarks.validity.made import within
from pgtrace.analysis.causerows import SCHEMA
from pgtrace.analysis.censoring import rounded_down
from pgtrace.analysis.executions import load
from pgtrace.analysis.finding import q_values
from pgtrace.analysis.windows import controls_of, marks, train_of
from pgtrace.api import LakeHandle

SAMPLES = Path(__file__).parent.parent / "sample_logs"
SECONDS, EVENTS = 1440, 24


def made(
    folder: Path, factor: float, *, from_ms: float = 0.0, events: int = EVENTS, pile_up_s: float = 0.0
) -> LakeHandle:
    """A log of two queries; one takes ``factor`` times as long where it starts in a checkpoint.

    For so long after the fifth checkpoint, all take fifty times as long, and there is no word of why.
    """
    rng = np.random.default_rng(7)
    log = MadeLog()
    begins = (np.arange(events) + rng.uniform(0.1, 0.6, events)) * SECONDS / events
    ends = begins + rng.uniform(8, 14, events)
    for begin, end in zip(begins, ends, strict=True):
        log.checkpoint(begin, end)
    for at in rng.uniform(0, SECONDS, 12):
        log.say(at, "archive command failed with exit code 1", 3)
    for table, per_second, slowed in (("orders", 12, factor), ("items", 12, 1.0)):
        starts, durations = steady(rng, SECONDS, per_second, 5.0)
        durations = np.where(within(starts, (begins, ends)), durations * slowed, durations)
        durations = np.where((starts >= ends[4]) & (starts < ends[4] + pile_up_s), durations * 50, durations)
        kept = durations >= from_ms
        log.statements(starts[kept], durations[kept], f"SELECT * FROM {table} WHERE id = 1")
    lake = pgtrace.open(folder / "lake")
    lake.ingest(log.write(folder / "postgresql.log"))
    return lake


def row(rows: pl.DataFrame, kind: str, table: str | None = None) -> dict[str, object]:
    text = pl.col("query_text").str.contains(table) if table else pl.col("fingerprint").is_null()
    return rows.filter(pl.col("kind") == kind, text).row(0, named=True)


def test_a_planted_effect_is_found_with_its_size_and_its_query(tmp_path: Path) -> None:
    causes = made(tmp_path, 2.0).why()
    assert causes.blamed["kind"].to_list() == ["checkpoint"]
    slowed = row(causes.rows, "checkpoint", "orders")
    assert slowed["verdict"] == "associated"
    assert slowed["times_slower"] == pytest.approx(2.0, rel=0.15)
    # of a lognormal of sigma 0.8, 34 % are above the 90th percentile once doubled
    assert slowed["slow_ratio_low"] < 3.4 < slowed["slow_ratio_high"]  # type: ignore[operator]
    assert row(causes.rows, "checkpoint", "items")["verdict"] == "no effect seen"
    assert row(causes.rows, "archive failed")["verdict"] == "no effect seen"
    assert 20 < row(causes.rows, "checkpoint")["excess_pct"] <= 100  # type: ignore[operator]


def test_nothing_is_blamed_where_nothing_was_slowed(tmp_path: Path) -> None:
    causes = made(tmp_path, 1.0).why()
    assert causes.blamed.is_empty()
    unseen = row(causes.rows, "checkpoint")
    assert unseen["verdict"] == "no effect seen"
    assert 1.0 < unseen["smallest_ratio_seen"] < 2.0  # type: ignore[operator]
    assert "would have been seen" in str(unseen["evidence"])


def test_a_threshold_is_noticed_and_said_and_the_effect_still_found(tmp_path: Path) -> None:
    causes = made(tmp_path, 2.0, from_ms=10.0).why()
    assert causes.facts["logged_from_ms"] == 10.0
    assert any("below 10 ms are not logged" in note for note in causes.facts["notes"])
    assert row(causes.rows, "checkpoint", "orders")["verdict"] == "associated"


@pytest.mark.parametrize("from_ms", [0.0, 10.0])
def test_a_pile_up_beside_one_event_does_not_hide_what_all_others_show(tmp_path: Path, from_ms: float) -> None:
    """Its seconds are more than those of all events and, where the fast ones are not logged, so are its executions."""
    slowed = row(made(tmp_path, 1.5, from_ms=from_ms, pile_up_s=12.0).why().rows, "checkpoint", "orders")
    assert slowed["verdict"] == "associated"
    assert slowed["excess_pct"] > 0  # type: ignore[operator]


def test_few_events_are_never_called_an_association(tmp_path: Path) -> None:
    rows = made(tmp_path, 3.0, events=5).why().rows.filter(kind="checkpoint")
    assert set(rows["verdict"]) == {"not enough events"}


def test_waits_for_locks_are_what_the_server_logged(tmp_path: Path) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest(SAMPLES / "pg15-mixed" / "postgresql.csv")
    waits = lake.sql(
        "select count(*), sum(waited_ms) / 1000 from whole_lock_wait where waited_ms is not null"
    ).fetchall()
    recorded = (
        lake.why().rows.filter(pl.col("verdict") == "recorded", pl.col("fingerprint").is_null()).row(0, named=True)
    )
    assert (recorded["events"], recorded["excess_s"]) == (waits[0][0], pytest.approx(waits[0][1]))


@pytest.mark.parametrize(
    ("log", "from_ms", "resolution_ms"),
    [
        ("pg15-mixed/postgresql.csv", 0.0, 1.0),
        ("pg15-slow50/postgresql.log", 50.0, 1.0),
        ("pg18-extended/postgresql.log", 0.0, 1000.0),
    ],
)
def test_how_a_real_server_logged_is_told_from_its_log(
    tmp_path: Path, log: str, from_ms: float, resolution_ms: float
) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest(SAMPLES / log, server="real")
    executions = load(lake.connection, "real", None, None)
    assert executions is not None
    assert (executions.logging.from_ms, executions.logging.resolution_ms) == (from_ms, resolution_ms)
    counted = lake.sql("select count(*) from statement where phase not in ('parse', 'bind')").fetchall()[0][0]
    assert executions.shapes["calls"].sum() == counted


def test_an_empty_lake_has_no_causes_and_says_so(tmp_path: Path) -> None:
    causes = pgtrace.open(tmp_path / "lake").why()
    assert causes.rows.is_empty()
    assert dict(causes.rows.schema) == SCHEMA
    assert causes.blamed.is_empty()


@pytest.mark.parametrize(("shortest", "expected"), [(50.012, 50), (100.9, 100), (1.003, 1), (62.3, 62.3), (250.4, 250)])
def test_a_threshold_is_the_round_number_just_below(shortest: float, expected: float) -> None:
    assert rounded_down(shortest) == expected


def test_false_discovery_rates_are_benjamini_and_hochbergs() -> None:
    # the worked example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.5), "BH")
    found = q_values(np.asarray([0.01, 0.02, 0.03, 0.04, 0.5]))
    assert found.tolist() == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.5])


@given(
    st.lists(st.tuples(st.floats(-50, 450), st.floats(0, 60)), min_size=1, max_size=30),
    st.floats(1, 40),
    st.integers(0, 5),
)
def test_no_event_is_in_its_surroundings_and_no_time_counts_twice(
    events: list[tuple[float, float]], shortest: float, guard: int
) -> None:
    starts = np.asarray([start for start, _ in events])
    train = train_of(starts, starts + np.asarray([length for _, length in events]), 400)
    controls = controls_of(train, 400, shortest, guard)
    counted = np.zeros(400, np.int64)
    for begins, ends in ((controls.before_from, controls.before_to), (controls.after_from, controls.after_to)):
        assert np.all(begins <= ends)
        for begin, end in zip(begins, ends, strict=True):
            counted[begin:end] += 1
    assert counted.max(initial=0) <= 1
    assert not np.any(counted[marks(train, 400)])
