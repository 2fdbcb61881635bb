"""What explains one episode: which events went on in it, beside how often they do when nothing is slow.

One episode proves nothing. So each explanation has how much of the excess started in its events, how much of the quiet
time around such events cover (what always goes on explains nothing), and what the whole log says of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import polars as pl

from pgtrace.analysis.grid import Booleans, Floats
from pgtrace.analysis.periods import Periods, ask

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "rank": pl.Int64,
    "process": pl.String,
    "kind": pl.String,
    "subject": pl.String,
    "certainty": pl.String,
    "events": pl.Int64,
    "first_at": pl.Datetime("us", "UTC"),
    "explained_s": pl.Float64,
    "explained_pct": pl.Float64,
    "during_pct": pl.Float64,
    "quiet_pct": pl.Float64,
    "lift": pl.Float64,
    "recorded_s": pl.Float64,
    "log_verdict": pl.String,
    "log_certainty": pl.String,
    "log_times_slower": pl.Float64,
    "log_slow_ratio": pl.Float64,
    "detail": pl.String,
}
#: an event explains what started a little before it was noticed, as a wait for a lock does
_EARLY_S = 0.1
#: less than this share of the excess is no explanation; quiet time covered by more than this share is no difference
_LEAST_PCT, _LEAST_LIFT = 5.0, 1.5
_RECORDED_SHARE = 0.2
#: kinds of one process that are each their own explanation
_OWN_KINDS = {"backend", "several", "postmaster"}
#: how much the whole log's verdict counts
_PRIOR = {"recorded": 1.2, "associated": 1.2, "not separable": 1.0, "confounded by a clock": 0.6, "no effect seen": 0.4}

_SLOW = """
with
execution as (
    select fingerprint, epoch_us(started_at) / 1e6 as started_s, duration_ms, period = 'during' as is_inside
    from statement
    inner join pgtrace_period on started_at >= from_at and started_at < to_at
    where server = $server and phase not in ('parse', 'bind') and duration_ms is not null
),
usual as (
    select fingerprint, quantile_cont(duration_ms, 0.9) as slow_ms
    from execution
    where not is_inside
    group by fingerprint
    having count(*) >= 10
)
select execution.fingerprint, started_s, (duration_ms - slow_ms) / 1000 as over_s
from execution
inner join usual on execution.fingerprint is not distinct from usual.fingerprint
where is_inside and duration_ms > slow_ms
order by started_s
"""
_EVENTS = """
select distinct coalesce(process, 'several') as process, kind, fingerprint, relation,
    epoch_us(started_at) / 1e6 as start_s, epoch_us(ended_at) / 1e6 as end_s, magnitude, unit, event_window.detail
from event_window
inner join pgtrace_period on started_at < to_at and ended_at > from_at
where server = $server
order by all
"""


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches of time (seconds since 1970), in order, none overlapping."""

    starts: Floats
    ends: Floats

    @classmethod
    def of(cls, starts: Floats, ends: Floats) -> _Stretches:
        order = np.argsort(starts, kind="stable")
        first, last = starts[order], np.maximum.accumulate(ends[order])
        begins = np.concatenate(([True], first[1:] > last[:-1]))
        return cls(first[begins], last[np.concatenate((begins[1:], [True]))])

    def seconds(self, first_s: float, last_s: float) -> float:
        """How much of a span they cover."""
        return float(np.sum(np.maximum(np.minimum(self.ends, last_s) - np.maximum(self.starts, first_s), 0)))

    def hold(self, times_s: Floats) -> Booleans:
        """Which times are in one."""
        place = np.searchsorted(self.starts, times_s, side="right") - 1
        return np.asarray((place >= 0) & (times_s < self.ends[np.maximum(place, 0)]))


def explanations(
    connection: duckdb.DuckDBPyConnection, periods: Periods, log_rows: pl.DataFrame, texts: dict[str, str]
) -> tuple[pl.DataFrame, float]:
    """Explanations, best first, and all excess seconds. ``log_rows`` is what was found over the whole log."""
    slow = ask(connection, periods, _SLOW)
    events = ask(connection, periods, _EVENTS)
    of_all = log_rows.filter(pl.col("server") == periods.server, pl.col("fingerprint").is_null())
    verdicts = {(row["process"], row["kind"], row["subject"]): row for row in of_all.reverse().iter_rows(named=True)}
    rows = []
    for _, own in sorted(events.group_by(_key(), maintain_order=True), key=lambda item: str(item[0])):
        row = _explanation(periods, slow, own, texts)
        if row is not None:
            rows.append({**row, **_of_log(verdicts, row)})
    excess_s = float(slow["over_s"].sum())
    for row in rows:
        _rate(row, excess_s)
    ranked = sorted(rows, key=lambda row: (-row["points"], row["process"], row["kind"]))
    chosen: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in ranked:
        apart = (row["kind"], row["subject"]) if row["process"] in _OWN_KINDS else ()
        if row["points"] > 0:
            chosen.setdefault((row["process"], *apart), row)
    numbered = [{**row, "rank": place} for place, row in enumerate(chosen.values(), 1)]
    return pl.DataFrame([{name: row[name] for name in SCHEMA} for row in numbered], SCHEMA, orient="row"), excess_s


def _key() -> list[pl.Expr]:
    """A heavy query is an explanation of its own, all else goes by kind."""
    heavy = pl.when(pl.col("kind") == "heavy query").then(pl.col("fingerprint"))
    return [pl.col("process"), pl.col("kind"), heavy.alias("subject_key")]


def _explanation(
    periods: Periods, slow: pl.DataFrame, events: pl.DataFrame, texts: dict[str, str]
) -> dict[str, Any] | None:
    first_s, last_s = periods.started_at.timestamp(), periods.ended_at.timestamp()
    within = events.filter(pl.col("start_s") < last_s, pl.col("end_s") > first_s)
    if within.is_empty():
        return None
    kind, process = events["kind"][0], events["process"][0]
    early = _EARLY_S if kind == "lock wait" else 0.0
    stretches = _Stretches.of(events["start_s"].to_numpy() - early, events["end_s"].to_numpy())
    # the work of a query that is the event itself is no excess of others
    own = within["fingerprint"].drop_nulls().unique() if kind in ("heavy query", "temporary files") else None
    others = slow if own is None else slow.filter(~pl.col("fingerprint").is_in(own.implode()).fill_null(value=False))
    inside = stretches.hold(others["started_s"].to_numpy())
    before_s, after_s = periods.before_from.timestamp(), periods.after_to.timestamp()
    quiet_s = (after_s - before_s) - periods.seconds
    quiet_covered = stretches.seconds(before_s, first_s) + stretches.seconds(last_s, after_s)
    recorded = None
    if kind in ("lock wait", "recovery conflict"):
        recorded = _Stretches(within["start_s"].to_numpy(), within["end_s"].to_numpy()).seconds(first_s, last_s)
    return {
        "process": process,
        "kind": kind,
        "subject": _subject(kind, within, texts),
        "events": within.height,
        "first_at": datetime.fromtimestamp(float(within["start_s"][0]), tz=UTC),
        "explained_s": float(np.sum(others["over_s"].to_numpy()[inside])),
        "during_pct": 100 * stretches.seconds(first_s, last_s) / periods.seconds,
        "quiet_pct": 100 * quiet_covered / quiet_s if quiet_s > 0 else None,
        "recorded_s": recorded,
        "detail": _most(within["detail"]),
    }


def _subject(kind: str, events: pl.DataFrame, texts: dict[str, str]) -> str | None:
    """What it was about: the heavy query's text, the relation or lock that most of the time went to."""
    if kind == "heavy query":
        fingerprint = events["fingerprint"][0]
        return texts.get(str(fingerprint), str(fingerprint))
    busy = (
        events.filter(pl.col("relation").is_not_null())
        .group_by("relation")
        .agg((pl.col("end_s") - pl.col("start_s")).sum())
        .sort("end_s", "relation", descending=[True, False])
    )
    if busy.is_empty():
        return None
    more = f" and {busy.height - 1} more" if busy.height > 1 else ""
    return f"{busy['relation'][0]}{more}"


def _most(texts: pl.Series) -> str | None:
    found = texts.drop_nulls().mode().sort()
    return str(found[0]) if len(found) else None


def _of_log(verdicts: dict[tuple[Any, Any, Any], dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    """What the whole log says of the kind: what the server recorded, or else the kind as such, or its series."""
    subject = row["subject"] if row["kind"] == "heavy query" else None
    told = [one for key, one in verdicts.items() if key[:2] == (row["process"], row["kind"]) and key[2] == subject]
    told += [one for key, one in verdicts.items() if key[1] == row["kind"] and one["verdict"] == "recorded"]
    best = min(told, key=lambda one: (one["verdict"] != "recorded", one["rank"]), default=None)
    names = ("verdict", "certainty", "times_slower", "slow_ratio")
    return {f"log_{name}": None if best is None else best[name] for name in names}


def _rate(row: dict[str, Any], excess_s: float) -> None:
    """Add shares, lift, the words and the points that it is ranked by."""
    explained = 100 * row["explained_s"] / excess_s if excess_s > 0 else 0.0
    quiet = row["quiet_pct"]
    lift = explained / quiet if quiet else None
    surplus = max(explained - (quiet or 0.0), 0.0)
    is_recorded = bool(row["recorded_s"]) and row["recorded_s"] >= _RECORDED_SHARE * excess_s
    prior = row["log_verdict"]
    points = surplus * _PRIOR.get(prior, 0.8)
    if is_recorded:
        points = max(points, 100.0 * min(row["recorded_s"] / excess_s, 1.0) if excess_s > 0 else 100.0) + 100
    elif explained < _LEAST_PCT:
        points = 0.0
    agrees = prior in ("associated", "recorded", "not separable")
    if is_recorded:
        certainty = "recorded by the server"
    elif lift is not None and lift < _LEAST_LIFT:
        certainty = "goes on at quiet times too"
    elif agrees:
        certainty = "at work then, and the whole log agrees"
    elif str(row["log_certainty"]).startswith("coincides"):
        certainty = "at work then, and when it was slow at other times"
    elif prior in ("no effect seen", "confounded by a clock"):
        certainty = "at work then, but the whole log shows no effect of it"
    else:
        certainty = "at work then; the log has too little to confirm it"
    row.update(explained_pct=explained, lift=lift, certainty=certainty, points=points)
