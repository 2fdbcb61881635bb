"""The kinds of events that may explain slowness, each as a train on the grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import numpy as np
import polars as pl

from pgtrace.analysis.executions import Executions
from pgtrace.analysis.grid import Booleans, Floats
from pgtrace.analysis.windows import Train, train_of

#: events closer than this, and than three times their usual length, also count as one series
_SERIES_WITHIN_S = 15.0
#: that many relations and heavy queries, those with most time, are looked at one by one
_MOST_RELATIONS, _MOST_HEAVY = 10, 10
#: a waiting statement began a little before its wait
_BEFORE_WAIT_S = 0.1
_WITH_SERIES = {
    "checkpoint",
    "restartpoint",
    "vacuum",
    "lock wait",
    "temporary files",
    "connection storm",
    "heavy query",
    "WAL burst",
    "full page image burst",
}
#: what belongs to one process's doing is one explanation, however it is cut
_PART = re.compile(r"( write| sync|, same relation| series)+$")
_FAMILIES = {"since redo": "checkpoint", "full page image burst": "WAL burst"}


def family_of(kind: str) -> str:
    """The process's doing that a kind of events is a part of: checkpoint, vacuum, WAL burst, …"""
    whole = _PART.sub("", kind)
    return _FAMILIES.get(whole, whole)


@dataclass(frozen=True, slots=True)
class Kind:
    """Events of one kind: ``train`` on the grid and, parallel to it, when each began (seconds since 1970).

    ``subject`` is the relation or the fingerprint that they are about; ``only`` marks the shapes that they can concern,
    ``without`` those that are the events themselves; None: all, none.
    """

    process: str
    kind: str
    train: Train
    subject: str | None = None
    only: Booleans | None = None
    without: Booleans | None = None
    began_s: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def family(self) -> str:
        """What explanations it is one of."""
        name = family_of(self.kind)
        return f"{name} {self.subject}" if name == "heavy query" else name


def load_events(
    connection: duckdb.DuckDBPyConnection, server: str, since: datetime | None, until: datetime | None
) -> pl.DataFrame:
    """The rows of event_window that touch the span, with times as seconds since 1970."""
    events: pl.DataFrame = connection.sql(
        """
        select coalesce(process, 'several') as process, kind, epoch_us(started_at) / 1e6 as started_s,
            epoch_us(ended_at) / 1e6 as ended_s, relation, fingerprint
        from event_window
        where server = $server and ($since is null or ended_at >= $since) and ($until is null or started_at < $until)
        order by started_s, ended_s
        """,
        params={"server": server, "since": since, "until": until},
    ).pl()
    return events


def kinds_of(events: pl.DataFrame, executions: Executions, relations: dict[str, list[str]]) -> list[Kind]:
    """All kinds that have an event on the grid; ``relations`` says which a fingerprint's SQL names."""
    return [kind for kind in _all_kinds(events, executions, relations) if len(kind.train)]


def _all_kinds(events: pl.DataFrame, executions: Executions, relations: dict[str, list[str]]) -> Iterator[Kind]:
    for (kind,), rows in sorted(events.partition_by("kind", as_dict=True).items()):
        name = str(kind)
        if name == "heavy query":
            # a query that spills is told of by its temporary files
            spilling = events.filter(kind="temporary files")["fingerprint"].drop_nulls().unique()
            yield from _heavy(rows.filter(~pl.col("fingerprint").is_in(spilling.implode())), executions)
            continue
        without = _shapes(executions, rows["fingerprint"]) if name == "temporary files" else None
        early = _BEFORE_WAIT_S if name == "lock wait" else 0.0
        yield from _with_series(rows, executions, name, without=without, early_s=early)
        if name == "vacuum":
            yield from _same_relation(rows, executions, relations)


def _with_series(
    rows: pl.DataFrame,
    executions: Executions,
    kind: str,
    *,
    subject: str | None = None,
    only: Booleans | None = None,
    without: Booleans | None = None,
    early_s: float = 0.0,
) -> Iterator[Kind]:
    """The kind, and where its events come in series, those."""
    grid = executions.grid
    starts = grid.position(rows["started_s"].to_numpy() - early_s)
    ends = grid.position(rows["ended_s"].to_numpy())
    train = train_of(starts, ends, grid.bins)
    process = str(rows["process"][0])

    def made(name: str, of: Train) -> Kind:
        began = np.asarray([grid.time_s(float(start)) for start in of.starts])
        return Kind(process, name, of, subject, only, without, began)

    yield made(kind, train)
    if kind not in _WITH_SERIES or not len(train):
        return
    within = max(_SERIES_WITHIN_S, 3 * float(np.median(train.lengths)) * grid.width_s) / grid.width_s
    series = train_of(train.starts.astype(np.float64), train.ends.astype(np.float64), grid.bins, within)
    if len(series) <= len(train) / 2:
        yield made(f"{kind} series", series)


def _heavy(rows: pl.DataFrame, executions: Executions) -> Iterator[Kind]:
    """Each query that is long by nature, but not for itself."""
    for fingerprint in _busiest(rows, "fingerprint", _MOST_HEAVY):
        own = rows.filter(pl.col("fingerprint") == fingerprint)
        without = _shapes(executions, pl.Series([fingerprint]))
        yield from _with_series(own, executions, "heavy query", subject=str(fingerprint), without=without)


def _same_relation(rows: pl.DataFrame, executions: Executions, relations: dict[str, list[str]]) -> Iterator[Kind]:
    """Vacuums of one relation, for the queries that name it."""
    for relation in _busiest(rows, "relation", _MOST_RELATIONS):
        if relation is None:
            continue
        _, _, qualified = str(relation).partition(".")
        names = {qualified, qualified.rpartition(".")[2]}
        only = np.asarray([bool(names & set(relations.get(shape, ()))) for shape in executions.shapes["fingerprint"]])
        if only.any():
            own = rows.filter(pl.col("relation") == relation)
            yield from _with_series(own, executions, "vacuum, same relation", subject=str(relation), only=only)


def _busiest(rows: pl.DataFrame, column: str, most: int) -> pl.Series:
    """What the events of most time are about."""
    busy = rows.group_by(column).agg((pl.col("ended_s") - pl.col("started_s")).sum().alias("busy_s"))
    return busy.sort("busy_s", column, descending=[True, False])[column].head(most)


def _shapes(executions: Executions, fingerprints: pl.Series) -> Booleans:
    """Which shapes have one of these fingerprints."""
    return executions.shapes["fingerprint"].is_in(fingerprints.drop_nulls().unique().implode()).to_numpy()
