"""How busy a server was, second by second: executions that ran, started and ended, and how much longer they took."""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import Column, Table

#: in flight, on average over a second, is what was before it, and for each start in it the rest of the second, less
#: for each end in it the rest of the second. Microseconds are summed as integers: a sum of floats depends on the
#: order in which threads come to it
_VIEW = """
with
usual as (
    select server, fingerprint, quantile_cont(duration_ms, 0.9) as slow_ms
    from statement
    where phase not in ('parse', 'bind') and duration_ms is not null
    group by server, fingerprint
),
edge as (
    select statement.server, started_at as edge_at, 1 as change, duration_ms > slow_ms as is_slow,
        cast(greatest(duration_ms - slow_ms, 0) * 1000 as bigint) as over_us
    from statement
    inner join usual
        on statement.server = usual.server and statement.fingerprint is not distinct from usual.fingerprint
    where phase not in ('parse', 'bind') and duration_ms is not null and started_at is not null
    union all
    select server, logged_at, -1, null, null
    from statement
    where phase not in ('parse', 'bind') and duration_ms is not null and started_at is not null
),
counted as (
    select server, date_trunc('second', edge_at) as second,
        count(*) filter (change = 1) as started,
        count(*) filter (change = -1) as ended,
        cast(sum(change * (1000000 - epoch_us(edge_at) % 1000000)) as bigint) as rest_us,
        count(*) filter (is_slow) as slow,
        cast(coalesce(sum(over_us), 0) as bigint) / 1e6 as excess_s
    from edge
    group by all
)
select server, second, started, ended,
    greatest(
        rest_us / 1e6 + coalesce(
            sum(started - ended) over (
                partition by server order by second rows between unbounded preceding and 1 preceding
            ), 0
        ), 0
    ) as in_flight,
    slow, excess_s
from counted
"""

VIEWS = {"activity": _VIEW}

VIEW_TABLES = {
    "activity": Table(
        name="activity",
        one_row_per="second in which an execution started or ended, of those that are logged with a duration",
        columns={
            "second": Column("the second", datetime),
            "started": Column("executions that started in it", int),
            "ended": Column("executions that ended in it", int),
            "in_flight": Column("executions that ran at the same time, on average over the second", float),
            "slow": Column("of those that started, how many took longer than nine in ten of their query do", int),
            "excess_s": Column("by how much they took longer", float, "s"),
        },
        time="second",
    )
}
