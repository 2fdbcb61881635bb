"""Why one execution was slow: against its own kind, what it overlapped, whom it waited for, and what it left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from pgtrace.analysis.lockchain import lock_chain

_USUAL = """
select count(*) as calls, quantile_cont(duration_ms, 0.5) as p50_ms, quantile_cont(duration_ms, 0.95) as p95_ms,
    quantile_cont(duration_ms, 0.99) as p99_ms, max(duration_ms) as longest_ms,
    100.0 * count(*) filter (duration_ms < $duration_ms) / count(*) as faster_pct
from statement
where server = $server and fingerprint is not distinct from $fingerprint and phase not in ('parse', 'bind')
"""
_OVERLAPPED = """
select coalesce(process, 'several') as process, kind, relation, fingerprint, started_at, ended_at, magnitude, unit,
    detail, (epoch_us(least(ended_at, $until)) - epoch_us(greatest(started_at, $since))) / 1e6 as overlap_s
from event_window
where server = $server and started_at < $until and ended_at > $since
    -- its own doing is told of below
    and not (kind in ('lock wait', 'heavy query', 'temporary files') and fingerprint is not distinct from $fingerprint)
order by overlap_s desc, kind, started_at
"""
_WITHIN = "server = $server and pid = $pid and logged_at >= $since and logged_at <= $until"
_TEMP_FILES = f"select path, size_bytes, logged_at from temp_file where {_WITHIN} order by logged_at, line_no"
_ERRORS = f"""
select logged_at, severity, sqlstate, condition, cancelled_by, message
from error
where {_WITHIN}
order by logged_at, line_no
"""
_PLAN = """
select plan.plan_hash, plan.node_count, plan.total_cost, plan.actual_total_ms, plan.shared_read_blocks,
    plan.temp_written_blocks, plan.plan_text
from plan
where server = $server and (
    (execution_source_id = $source_id and execution_line_no = $line_no)
    or (source_id = $source_id and line_no = $line_no)
)
order by line_no
"""


@dataclass(frozen=True, slots=True)
class OneStatement:
    """One execution. ``statement``: its row, with query_text; ``usual``: durations of all executions of its query.

    ``events``: what it overlapped, with the verdict of the whole log on that kind. ``chain``: the waits for locks of
    its process, each with its holders. ``temp_files``, ``errors``, ``plans``: what the process logged meanwhile.
    """

    statement: dict[str, Any]
    usual: dict[str, Any]
    events: pl.DataFrame
    chain: pl.DataFrame
    temp_files: pl.DataFrame
    errors: pl.DataFrame
    plans: pl.DataFrame


def describe_statement(
    connection: duckdb.DuckDBPyConnection, row: dict[str, Any], log_rows: pl.DataFrame
) -> OneStatement:
    """All about an execution; ``log_rows`` is what goes together with slowness over the whole log."""
    texts = dict(
        connection.execute(
            "select fingerprint, any_value(query_text) from query where fingerprint is not null group by fingerprint"
        ).fetchall()
    )
    place = {"server": row["server"]}
    span = place | {"since": row["started_at"], "until": row["logged_at"]}
    own = span | {"pid": row["pid"]}

    def ask(text: str, parameters: dict[str, Any]) -> pl.DataFrame:
        rows: pl.DataFrame = connection.sql(text, params=parameters).pl()
        return rows

    usual = ask(_USUAL, place | {"fingerprint": row["fingerprint"], "duration_ms": row["duration_ms"]}).to_dicts()[0]
    chain = lock_chain(connection, row["server"], row["pid"], row["started_at"], row["logged_at"], texts)
    return OneStatement(
        {**row, "query_text": texts.get(row["fingerprint"] or "")},
        usual,
        _with_verdicts(ask(_OVERLAPPED, span | {"fingerprint": row["fingerprint"]}), row, log_rows, texts),
        chain,
        ask(_TEMP_FILES, own),
        ask(_ERRORS, own),
        ask(_PLAN, place | {"source_id": row["source_id"], "line_no": row["line_no"]}),
    )


def _with_verdicts(
    events: pl.DataFrame, row: dict[str, Any], log_rows: pl.DataFrame, texts: dict[str, str]
) -> pl.DataFrame:
    """With a subject, the share of the execution that each event overlapped, and what the log says of its kind."""
    verdicts = (
        log_rows.filter(pl.col("server") == row["server"], pl.col("fingerprint").is_null())
        .with_columns(pl.when(pl.col("kind") == "heavy query").then("subject").alias("about"))
        .unique(["process", "kind", "about"], keep="first", maintain_order=True)
        .select("process", "kind", "about", log_verdict="verdict", log_slow_ratio="slow_ratio")
    )
    heavy = pl.col("fingerprint").replace_strict(texts, default=pl.col("fingerprint"), return_dtype=pl.String)
    seconds = max(row["duration_ms"] / 1000, 1e-6)
    return (
        events.with_columns(
            pl.when(pl.col("kind") == "heavy query").then(heavy).otherwise(None).alias("about"),
            (100 * pl.col("overlap_s") / seconds).clip(0, 100).alias("overlap_pct"),
        )
        .join(verdicts, on=["process", "kind", "about"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.coalesce("about", "relation").alias("subject"))
        .select(
            *("process", "kind", "subject", "started_at", "ended_at", "overlap_s", "overlap_pct"),
            *("log_verdict", "log_slow_ratio", "magnitude", "unit", "detail"),
        )
    )
