"""Why was it slow? Every kind of background event against every query that matters, ranked, with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl

from pgtrace.analysis import verdicts
from pgtrace.analysis.causerows import (
    LAGS,
    LEAST_SHARE_PCT,
    SCHEMA,
    TIERS,
    finding_row,
    profile_rows,
    ranked,
    waits_row,
)
from pgtrace.analysis.executions import Executions, load
from pgtrace.analysis.finding import find_all
from pgtrace.analysis.kinds import kinds_of, load_events
from pgtrace.analysis.recorded import lock_waits


@dataclass(frozen=True, slots=True)
class Causes:
    """``rows``: one per kind of events and query that was tested, best explanation first.

    ``lags``: for what is told, how often executions are slow by seconds from the beginning of events (see lags.py);
    ``facts`` about the log.
    """

    rows: pl.DataFrame
    lags: pl.DataFrame
    facts: dict[str, Any]

    @property
    def blamed(self) -> pl.DataFrame:
        """The explanations worth acting on: one row per process and kind, for all queries together."""
        return self.rows.filter(
            pl.col("is_main"), pl.col("certainty").is_in(list(TIERS)), pl.col("excess_pct") >= LEAST_SHARE_PCT
        )


def find_causes(
    connection: duckdb.DuckDBPyConnection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    server: str | None = None,
    fingerprint: str | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Causes:
    """Test everything that went on in a span against the executions that started in it.

    ``fingerprint`` keeps the rows about that query; ``on_step`` is told what is being done.
    """
    tell = on_step or (lambda _: None)
    texts = connection.sql(
        "select fingerprint, any_value(query_text) as query_text, "
        "list_distinct(flatten(list(list_concat(coalesce(relations_read, []), coalesce(relations_written, [])))))"
        " as relations from query where fingerprint is not null group by fingerprint"
    ).pl()
    relations = dict(zip(texts["fingerprint"], texts["relations"].to_list(), strict=True))
    rows: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"servers": [], "notes": []}
    for name in _servers(connection, server):
        tell(f"{name}: reading executions")
        executions = load(connection, name, since, until)
        if executions is None:
            facts["notes"].append(f"{name}: there is no statement with a duration in this span")
            continue
        tell(f"{name}: {int(executions.shapes['calls'].sum()):,} executions")
        events = load_events(connection, name, since, until)
        kinds = kinds_of(events, executions, relations)
        tell(f"{name}: testing {len(kinds)} kinds of events")
        findings = verdicts.judged(executions, find_all(executions, name, kinds))
        profiles += [row for finding in findings for row in profile_rows(finding, executions)]
        waits = lock_waits(connection, name, since, until)
        rows += [finding_row(finding, executions) for finding in findings]
        rows += [waits_row(name, one, executions) for one in waits]
        facts["servers"].append(_facts(name, executions, events))
        facts["notes"] += _notes(name, executions, events)
    found = ranked(pl.DataFrame(rows, SCHEMA, orient="row"), texts)
    if fingerprint is not None:
        found = found.filter(fingerprint=fingerprint)
    return Causes(found, pl.DataFrame(profiles, LAGS, orient="row"), _summed(facts))


def _servers(connection: duckdb.DuckDBPyConnection, server: str | None) -> list[str]:
    if server is not None:
        return [server]
    found = connection.execute("select distinct server from statement order by server").fetchall()
    return [name for (name,) in found]


def _facts(server: str, executions: Executions, events: pl.DataFrame) -> dict[str, Any]:
    grid = executions.grid
    return {
        "server": server,
        "statements": int(executions.shapes["calls"].sum()),
        "queries": executions.shapes.height,
        "first_at": datetime.fromtimestamp(grid.origin_s, tz=UTC),
        "last_at": datetime.fromtimestamp(grid.time_s(grid.bins), tz=UTC),
        "logged_from_ms": executions.logging.from_ms,
        "resolution_ms": executions.logging.resolution_ms,
        "slow_s": executions.slow_s(executions.usual),
        "events": events.height,
    }


def _notes(server: str, executions: Executions, events: pl.DataFrame) -> list[str]:
    logging = executions.logging
    notes = []
    if logging.is_censored:
        notes.append(
            f"{server}: durations below {logging.from_ms:g} ms are not logged, so effects look smaller than they are"
        )
    if logging.is_sampled:
        notes.append(f"{server}: a sample of the executions is logged, so seconds are those of the sample")
    if logging.resolution_ms >= 1000:
        notes.append(f"{server}: times are whole seconds (%t in log_line_prefix): events below 2 s are not judged")
    if events.is_empty():
        notes.append(f"{server}: nothing that went on beside the queries is logged (pgtrace doctor --logging)")
    return notes


def _summed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of all servers together; for one server they are its own."""
    servers = facts["servers"]
    return {
        "servers": servers,
        "statements": sum(one["statements"] for one in servers),
        "first_at": min((one["first_at"] for one in servers), default=None),
        "last_at": max((one["last_at"] for one in servers), default=None),
        "logged_from_ms": max((one["logged_from_ms"] for one in servers), default=None),
        "resolution_ms": max((one["resolution_ms"] for one in servers), default=None),
        "slow_s": sum(one["slow_s"] for one in servers),
        "notes": facts["notes"],
    }
