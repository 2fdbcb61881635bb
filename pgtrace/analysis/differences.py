"""What was different in an episode: load, connections, errors, WAL, and the queries, against the time around it."""

from __future__ import annotations

import duckdb
import polars as pl

from pgtrace.analysis.periods import Periods, ask

_MOST_QUERIES = 20
#: so little more time is no difference
_LEAST_EXTRA_S = 0.001

#: topic, what, unit, and per period an amount that is divided by its seconds
_AMOUNTS = """
with
amount as (
    select 'load' as topic, 'executions started' as what, 'per s' as unit, period, cast(count(*) as double) as amount
    from statement
    inner join pgtrace_period on statement.started_at >= from_at and statement.started_at < to_at
    where server = $server and phase not in ('parse', 'bind')
    group by period
    union all
    select 'load', 'executions at the same time', '', period,
        sum(epoch_us(least(logged_at, to_at)) - epoch_us(greatest(started_at, from_at))) / 1e6
    from statement
    inner join pgtrace_period on started_at < to_at and logged_at > from_at
    where server = $server and phase not in ('parse', 'bind')
    group by period
    union all
    select 'connections', 'new connections', 'per s', period, count(*)
    from connection
    inner join pgtrace_period
        on coalesce(received_at, logged_at) >= from_at and coalesce(received_at, logged_at) < to_at
    where server = $server
    group by period
    union all
    select 'locks', 'processes that wait for a lock', '', period,
        sum(epoch_us(least(heard_at, to_at)) - epoch_us(greatest(waiting_since, from_at))) / 1e6
    from whole_lock_wait
    inner join pgtrace_period on waiting_since < to_at and heard_at > from_at
    where server = $server
    group by period
    union all
    select 'temporary files', 'written', 'bytes per s', period, sum(size_bytes)
    from temp_file
    inner join pgtrace_period on logged_at >= from_at and logged_at < to_at
    where server = $server
    group by period
    union all
    select 'errors', concat_ws(': ', severity, coalesce(condition_class, condition, 'no SQLSTATE')), 'per s', period,
        count(*)
    from error
    inner join pgtrace_period on logged_at >= from_at and logged_at < to_at
    where server = $server
    group by all
    union all
    select 'WAL', 'written', 'bytes per s', period, sum(bytes)
    from wal_second
    inner join pgtrace_period on second >= from_at and second < to_at
    where server = $server
    group by period
    union all
    select 'WAL', 'full page images', 'bytes per s', period, sum(fpi_bytes)
    from wal_second
    inner join pgtrace_period on second >= from_at and second < to_at
    where server = $server
    group by period
),
known as (
    select distinct topic, what, unit from amount where amount > 0
),
compared as (
    select known.topic, known.what, known.unit,
        max(coalesce(amount.amount, 0) / seconds) filter (pgtrace_period.period = 'during') as during,
        max(coalesce(amount.amount, 0) / seconds) filter (pgtrace_period.period = 'before') as before,
        max(coalesce(amount.amount, 0) / seconds) filter (pgtrace_period.period = 'after') as after,
        sum(coalesce(amount.amount, 0)) filter (pgtrace_period.period <> 'during')
            / sum(seconds) filter (pgtrace_period.period <> 'during') as outside
    from known
    cross join pgtrace_period
    left join amount
        on known.topic = amount.topic and known.what = amount.what and pgtrace_period.period = amount.period
    group by known.topic, known.what, known.unit
)
select topic, what, unit, during, before, after, during / nullif(outside, 0) as times
from compared
order by list_position(['load', 'connections', 'locks', 'temporary files', 'errors', 'WAL'], topic), during desc, what
"""

_QUERIES = """
with
execution as (
    select fingerprint, duration_ms, period = 'during' as is_inside
    from statement
    inner join pgtrace_period on started_at >= from_at and started_at < to_at
    where server = $server and phase not in ('parse', 'bind') and duration_ms is not null
),
length as (
    select sum(seconds) filter (period = 'during') as inside_s, sum(seconds) filter (period <> 'during') as outside_s
    from pgtrace_period
),
compared as (
    select fingerprint,
        count(*) filter (is_inside) as calls,
        count(*) filter (not is_inside) as calls_outside,
        coalesce(round(fsum(duration_ms) filter (is_inside), 3), 0) / 1000 as total_s,
        coalesce(round(fsum(duration_ms) filter (not is_inside), 3), 0) / 1000 as total_outside_s,
        median(duration_ms) filter (is_inside) as p50_ms,
        median(duration_ms) filter (not is_inside) as usual_p50_ms,
        quantile_cont(duration_ms, 0.95) filter (is_inside) as p95_ms,
        quantile_cont(duration_ms, 0.95) filter (not is_inside) as usual_p95_ms
    from execution
    group by fingerprint
    having count(*) filter (is_inside) > 0
)
select compared.fingerprint, query.query_text, calls,
    calls / inside_s / nullif(calls_outside / outside_s, 0) as calls_times,
    p50_ms, usual_p50_ms, p95_ms, usual_p95_ms,
    total_s - coalesce(total_outside_s / outside_s * inside_s, 0) as extra_s,
    calls_outside = 0 and not exists (
        select 1
        from statement
        where statement.server = $server and statement.fingerprint = compared.fingerprint
            and statement.started_at < (select min(from_at) from pgtrace_period)
    ) as is_new
from compared
cross join length
left join query on compared.fingerprint = query.fingerprint
order by extra_s desc, compared.fingerprint
"""


def differences(connection: duckdb.DuckDBPyConnection, periods: Periods) -> pl.DataFrame:
    """topic, what, unit, during, before, after, times: amounts per second; null where there is no such period."""
    return ask(connection, periods, _AMOUNTS)


def query_differences(connection: duckdb.DuckDBPyConnection, periods: Periods) -> pl.DataFrame:
    """The queries that took more time than usual, those with most first.

    ``extra_s`` is time in the episode beyond that of as long a time around it, be it slower or more often;
    ``calls_times`` how many times as often it ran; ``is_new``: never logged before.
    """
    rows = ask(connection, periods, _QUERIES)
    return rows.filter(pl.col("extra_s") > _LEAST_EXTRA_S).head(_MOST_QUERIES)
