"""Why was it slow? Every kind of background event against every query that matters, ranked, with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import duckdb
import numpy as np
import polars as pl

from pgtrace.analysis import verdicts, words
from pgtrace.analysis.executions import Executions, load
from pgtrace.analysis.finding import Finding, find_all
from pgtrace.analysis.kinds import kinds_of, load_events
from pgtrace.analysis.lags import lag_profile
from pgtrace.analysis.recorded import Waits, lock_waits
from pgtrace.analysis.slower import QUANTILES, Slower, slower

#: columns of ``Causes.rows``
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "rank": pl.Int64,
    "verdict": pl.String,
    "certainty": pl.String,
    "server": pl.String,
    "process": pl.String,
    "kind": pl.String,
    "subject": pl.String,
    "fingerprint": pl.String,
    "query_text": pl.String,
    "times_slower": pl.Float64,
    "p50_ratio": pl.Float64,
    "p95_ratio": pl.Float64,
    "p99_ratio": pl.Float64,
    "slow_ratio": pl.Float64,
    "slow_ratio_low": pl.Float64,
    "slow_ratio_high": pl.Float64,
    "excess_s": pl.Float64,
    "excess_pct": pl.Float64,
    "events": pl.Int64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "smallest_ratio_seen": pl.Float64,
    "slow_ms": pl.Float64,
    "not_separable_from": pl.String,
    "evidence": pl.String,
    "examples": pl.List(pl.Datetime("us", "UTC")),
    "is_main": pl.Boolean,
}

#: columns of ``Causes.lags``
LAGS: dict[str, pl.DataType | type[pl.DataType]] = {
    **{name: SCHEMA[name] for name in ("server", "kind", "subject")},
    "from_s": pl.Float64,
    "to_s": pl.Float64,
    **{name: SCHEMA[name] for name in ("slow_ratio", "slow_ratio_low", "slow_ratio_high")},
    "slow_calls": pl.Int64,
}
#: which explanation is named first where several go on together: the one that the others follow from
_FIRST = ("lock wait", "checkpoint", "restartpoint", "vacuum", "connection storm", "temporary files", "heavy query")
_TIERS = {"recorded by the server": 0, "strong": 0, "moderate": 0, "one of several": 1, "coincides, too few events": 2}
#: less than this share of all slow seconds is no explanation of them
LEAST_SHARE_PCT = 2.0
_EXAMPLES = 3


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
            pl.col("is_main"), pl.col("certainty").is_in(list(_TIERS)), pl.col("excess_pct") >= LEAST_SHARE_PCT
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
        profiles += [row for finding in findings for row in _profile(finding, executions)]
        waits = lock_waits(connection, name, since, until)
        rows += [_row(finding, executions) for finding in findings]
        rows += [_waits_row(name, one, executions) for one in waits]
        facts["servers"].append(_facts(name, executions, events))
        facts["notes"] += _notes(name, executions, events)
    ranked = _ranked(pl.DataFrame(rows, SCHEMA, orient="row"), texts)
    if fingerprint is not None:
        ranked = ranked.filter(fingerprint=fingerprint)
    return Causes(ranked, pl.DataFrame(profiles, LAGS, orient="row"), _summed(facts))


def _servers(connection: duckdb.DuckDBPyConnection, server: str | None) -> list[str]:
    if server is not None:
        return [server]
    found = connection.execute("select distinct server from statement order by server").fetchall()
    return [name for (name,) in found]


def _is_told(finding: Finding) -> bool:
    """Whether there is something to tell, beyond that there is nothing."""
    told = (verdicts.ASSOCIATED, verdicts.NOT_SEPARABLE, verdicts.CLOCK)
    return finding.verdict in told or verdicts.is_coincidence(finding)


def _profile(finding: Finding, executions: Executions) -> list[dict[str, Any]]:
    """The lag profile of a finding about all queries."""
    if finding.shape is not None or not _is_told(finding):
        return []
    about = {"server": finding.server, "kind": finding.kind.kind, "subject": finding.kind.subject}
    return [{**about, **row} for row in lag_profile(executions, finding)]


def _row(finding: Finding, executions: Executions) -> dict[str, Any]:
    effect, kind = finding.effect, finding.kind
    shape = None if finding.shape is None else executions.shapes["fingerprint"][finding.shape]
    lengths = kind.train.lengths
    longer = slower(executions, finding) if _is_told(finding) else Slower(None, (None,) * len(QUANTILES))
    largest = np.sort(np.argsort(-lengths, kind="stable")[:_EXAMPLES])
    return {
        "verdict": finding.verdict,
        "certainty": words.certainty(finding),
        "server": finding.server,
        "process": kind.process,
        "kind": kind.kind,
        "subject": kind.subject,
        "fingerprint": shape,
        "times_slower": longer.times,
        **dict(zip(("p50_ratio", "p95_ratio", "p99_ratio"), longer.at_quantile, strict=True)),
        "slow_ratio": effect.ratio,
        "slow_ratio_low": effect.low if isfinite(effect.high) else None,
        "slow_ratio_high": effect.high if isfinite(effect.high) else None,
        "excess_s": effect.excess_s,
        "excess_pct": _share(effect.excess_s, finding.all_slow_s),
        "events": effect.events,
        "p_value": effect.p_value,
        "q_value": finding.q_value,
        "smallest_ratio_seen": effect.smallest_seen if isfinite(effect.smallest_seen) else None,
        "slow_ms": finding.slow_ms,
        "not_separable_from": finding.other if finding.verdict == verdicts.NOT_SEPARABLE else None,
        "evidence": words.evidence(finding, executions),
        "examples": [datetime.fromtimestamp(kind.began_s[place], tz=UTC) for place in largest],
    }


def _waits_row(server: str, waits: Waits, executions: Executions) -> dict[str, Any]:
    return {
        "verdict": verdicts.RECORDED,
        "certainty": "recorded by the server",
        "server": server,
        "process": "backend",
        "kind": "lock wait",
        "subject": waits.object,
        "fingerprint": waits.fingerprint,
        "excess_s": waits.waited_s,
        "excess_pct": _share(waits.waited_s, executions.slow_s(executions.usual)),
        "events": waits.waits,
        "evidence": words.waits_evidence(waits),
        "examples": sorted(waits.began),
    }


def _share(excess_s: float, slow_s: float) -> float | None:
    return min(100.0, 100.0 * excess_s / slow_s) if slow_s > 0 else None


def _ranked(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """In order: what explains most, most surely, first; one row of each process's doing is its main one."""
    family = (
        pl.col("kind")
        .str.replace("( write| sync| series|, same relation)$", "")
        .replace({"since redo": "checkpoint", "full page image burst": "WAL burst"})
    )
    tier = pl.col("certainty").replace_strict(_TIERS, default=3, return_dtype=pl.Int64)
    little = (pl.col("excess_pct").fill_null(0) < LEAST_SHARE_PCT) & (tier < 3)
    ordered = (
        rows.with_columns(
            family.alias("family"),
            pl.when(little).then(3).otherwise(tier).alias("tier"),
            pl.col("fingerprint").is_not_null().alias("of_query"),
        )
        .with_columns(
            # of several that cannot be told apart, the one that the others follow from
            pl.when(pl.col("tier") == 1)
            .then(pl.col("family").replace_strict({name: at for at, name in enumerate(_FIRST)}, default=len(_FIRST)))
            .otherwise(0)
            .alias("first")
        )
        .sort(
            "of_query",
            "tier",
            "first",
            "excess_s",
            "server",
            "kind",
            "subject",
            "fingerprint",
            descending=[False, False, False, True, False, False, False, False],
            nulls_last=True,
        )
    )
    # an effect may sit in one query alone, as in COMMIT: then that query's row speaks for the process
    doing = pl.struct("server", "family", pl.when(pl.col("family") == "heavy query").then("subject"))
    ordered = ordered.sort("tier", "of_query", maintain_order=True)
    text = texts.select("fingerprint", pl.col("query_text").alias("text"))
    subject = texts.select(pl.col("fingerprint").alias("subject"), pl.col("query_text").alias("subject_text"))
    return (
        ordered.with_columns(doing.is_first_distinct().alias("is_main"))
        .sort("tier", ~pl.col("is_main"), "of_query", maintain_order=True)
        .drop("query_text")
        .join(text.rename({"text": "query_text"}), on="fingerprint", how="left", maintain_order="left")
        .join(subject, on="subject", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("subject_text", "subject").alias("subject"),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank"),
        )
        .select(*SCHEMA)
    )


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
