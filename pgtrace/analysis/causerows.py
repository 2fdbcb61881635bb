"""Findings as rows: the columns of ``Causes.rows`` and ``Causes.lags``, and the order in which they are told."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np
import polars as pl

from pgtrace.analysis import verdicts, words
from pgtrace.analysis.executions import Executions
from pgtrace.analysis.finding import Finding
from pgtrace.analysis.kinds import family_of
from pgtrace.analysis.lags import lag_profile
from pgtrace.analysis.recorded import Waits
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
TIERS = {"recorded by the server": 0, "strong": 0, "moderate": 0, "one of several": 1, "coincides, too few events": 2}
#: less than this share of all slow seconds is no explanation of them
LEAST_SHARE_PCT = 2.0
_EXAMPLES = 3


def _is_told(finding: Finding) -> bool:
    """Whether there is something to tell, beyond that there is nothing."""
    told = (verdicts.ASSOCIATED, verdicts.NOT_SEPARABLE, verdicts.CLOCK)
    return finding.verdict in told or verdicts.is_coincidence(finding)


def profile_rows(finding: Finding, executions: Executions) -> list[dict[str, Any]]:
    """The lag profile of a finding about all queries."""
    if finding.shape is not None or not _is_told(finding):
        return []
    about = {"server": finding.server, "kind": finding.kind.kind, "subject": finding.kind.subject}
    return [{**about, **row} for row in lag_profile(executions, finding)]


def finding_row(finding: Finding, executions: Executions) -> dict[str, Any]:
    """The row of a finding, without its rank."""
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
        "excess_pct": _share(effect.excess_s, finding.setting.all_slow_s),
        "events": effect.events,
        "p_value": effect.p_value,
        "q_value": finding.q_value,
        "smallest_ratio_seen": effect.smallest_seen if isfinite(effect.smallest_seen) else None,
        "slow_ms": finding.slow_ms,
        "not_separable_from": finding.other if finding.verdict == verdicts.NOT_SEPARABLE else None,
        "evidence": words.evidence(finding, executions),
        "examples": [datetime.fromtimestamp(kind.began_s[place], tz=UTC) for place in largest],
    }


def waits_row(server: str, waits: Waits, executions: Executions) -> dict[str, Any]:
    """The row of waits for locks, without its rank."""
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


def ranked(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """In order: what explains most, most surely, first; one row of each process's doing is its main one."""
    family = pl.col("kind").replace({kind: family_of(kind) for kind in rows["kind"].unique()})
    tier = pl.col("certainty").replace_strict(TIERS, default=3, return_dtype=pl.Int64)
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
            .alias("first"),
            pl.max("excess_s").over("server", "family", "tier", "of_query", "fingerprint").alias("family_s"),
        )
        .sort(
            "of_query",
            "tier",
            "first",
            "family_s",
            pl.col("verdict") == verdicts.RECORDED,  # what the server wrote down goes before what was worked out
            "excess_s",
            "server",
            "kind",
            "subject",
            "fingerprint",
            descending=[False, False, False, True, True, True, False, False, False, False],
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
        .with_columns(pl.when("is_main").then("family_s").alias("main_s"))
        .sort(
            "tier",
            "first",
            ~pl.col("is_main"),
            "main_s",
            "of_query",
            descending=[False, False, False, True, False],
            nulls_last=True,
            maintain_order=True,
        )
        .drop("query_text")
        .join(text.rename({"text": "query_text"}), on="fingerprint", how="left", maintain_order="left")
        .join(subject, on="subject", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("subject_text", "subject").alias("subject"),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank"),
        )
        .select(*SCHEMA)
    )
