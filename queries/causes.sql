-- How many times as many executions are slow while something goes on beside them as just before and after?
--
-- One row per kind of events (view event_window) and query, and first for all queries together. An execution belongs
-- to an event if it started in it. Slow is above the 90th percentile of the same query outside of the events. Each
-- event is compared with event-free time on either side, as long as the event and at least 10 s, at most half way to
-- the next; the ratio is Mantel and Haenszel's over the events. Where nothing below 1 ms is logged it is of rates per
-- second. It is the first half of what pgtrace why does: the slowest hundredth, chance (p and q), clocks, overlap of
-- several kinds, series of events, and so the verdicts are pgtrace why's alone. A ratio here explains nothing yet.
-- Durations are read to within 0.5 %; single queries are those with at least 100 executions.
--
-- Reads:
--   statement, query, event_window
-- Columns:
--   server           VARCHAR  server
--   process          VARCHAR  the process: checkpointer, autovacuum worker, backend …
--   kind             VARCHAR  kind of the events, see view event_window
--   subject          VARCHAR  of a heavy query its text
--   fingerprint      VARCHAR  the query that is compared; null: all, or executions whose SQL was not logged
--   query_text       VARCHAR  its text; (all) for all queries
--   events           BIGINT   events with executions inside and outside
--   slow_ratio       DOUBLE   slow executions inside by those expected from outside
--   slow_ratio_low   DOUBLE   its 95 % interval over the events, from; null: fewer than 8 events
--   slow_ratio_high  DOUBLE   to
--   slow_inside      BIGINT   slow executions that started in the events
--   expected_inside  DOUBLE   as many as expected
--   excess_s         DOUBLE   seconds beyond what is slow, inside, less as many as expected
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    20    queries looked at one by one
with
shapes as (
    select
        server,
        fingerprint,
        count(*) as calls,
        round(fsum(duration_ms), 3) as total_ms,
        min(duration_ms) as shortest_ms,
        quantile_cont(duration_ms, 0.75) as kept_ms,
        min(epoch_us(started_at)) as first_us,
        max(epoch_us(started_at)) as last_us,
        bool_and(epoch_us(logged_at) % 1000000 = 0) as is_whole_seconds
    from statement
    where
        phase not in ('parse', 'bind')
        and duration_ms is not null
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
    group by server, fingerprint
),

spans as (
    select
        server,
        min(first_us) as origin_us,
        min(shortest_ms) >= 0.95 as is_censored,
        greatest(
            case when bool_and(is_whole_seconds) then 1000000 else 50000 end,
            (max(last_us) - min(first_us)) / 100000.0
        ) as bin_us,
        cast(floor((max(last_us) - min(first_us)) / bin_us) as bigint) + 1 as bins
    from shapes
    group by server
),

ranked as (
    select
        server,
        fingerprint,
        kept_ms,
        calls,
        row_number() over (
            partition by server order by calls >= 100 desc, total_ms desc, fingerprint asc
        ) as place
    from shapes
),

-- all that is needed of the executions: how many, per query, bin and duration (null: the faster three quarters)
cells as (
    select
        statement.server,
        ranked.place,
        cast(floor((epoch_us(statement.started_at) - spans.origin_us) / spans.bin_us) as bigint) as bin,
        case
            when statement.duration_ms >= ranked.kept_ms
                then cast(floor(200 * ln(greatest(statement.duration_ms, 0.001))) as bigint)
        end as size,
        count(*) as calls,
        round(fsum(statement.duration_ms), 3) as total_ms
    from statement
    inner join ranked
        on statement.server = ranked.server and statement.fingerprint is not distinct from ranked.fingerprint
    inner join spans on statement.server = spans.server
    where
        statement.phase not in ('parse', 'bind')
        and statement.duration_ms is not null
        and ($since is null or statement.started_at >= $since)
        and ($until is null or statement.started_at < $until)
    group by all
),

-- what started this long before an event may still run in it
guards as (
    select
        cells.server,
        ceil(
            least(2, exp((quantile_disc(cells.size, 0.96) + 0.5) / 200) / 1000) / (any_value(spans.bin_us) / 1e6)
        ) as guard
    from cells
    inner join spans on cells.server = spans.server
    where cells.size is not null
    group by cells.server
),

spilling as (
    select distinct
        server,
        fingerprint
    from event_window
    where kind = 'temporary files' and fingerprint is not null
),

happened as (
    select distinct
        event_window.server,
        coalesce(event_window.process, 'several') as process,
        event_window.kind,
        case when event_window.kind = 'heavy query' then event_window.fingerprint end as heavy,
        greatest(
            cast(
                floor(
                    (
                        epoch_us(event_window.started_at)
                        - case when event_window.kind = 'lock wait' then 100000 else 0 end - spans.origin_us
                    ) / spans.bin_us
                ) as bigint
            ),
            0
        ) as first_bin,
        least(
            greatest(cast(ceil((epoch_us(event_window.ended_at) - spans.origin_us) / spans.bin_us) as bigint), 1),
            spans.bins
        ) as end_bin,
        spans.bins
    from event_window
    inner join spans on event_window.server = spans.server
    -- a query that spills is told of by its temporary files
    anti join spilling
        on
            event_window.kind = 'heavy query'
            and event_window.server = spilling.server
            and event_window.fingerprint = spilling.fingerprint
    where
        epoch_us(event_window.ended_at) > spans.origin_us
        and epoch_us(event_window.started_at) < spans.origin_us + spans.bins * spans.bin_us
),

-- events that touch are one
joined as (
    select
        server,
        process,
        kind,
        heavy,
        bins,
        first_bin,
        greatest(end_bin, first_bin + 1) as last_bin,
        max(greatest(end_bin, first_bin + 1)) over (
            partition by server, process, kind, heavy
            order by first_bin, end_bin
            rows between unbounded preceding and 1 preceding
        ) as reached
    from happened
),

numbered as (
    select
        server,
        process,
        kind,
        heavy,
        bins,
        first_bin,
        last_bin,
        count(*) filter (where reached is null or first_bin > reached) over (
            partition by server, process, kind, heavy order by first_bin, last_bin
        ) as event_no
    from joined
),

trains as (
    select
        server,
        process,
        kind,
        heavy,
        event_no,
        min(first_bin) as first_bin,
        max(last_bin) as end_bin,
        any_value(bins) as bins
    from numbered
    group by server, process, kind, heavy, event_no
),

-- a gap's first half belongs to the event before it, its second half to the one after
surrounded as (
    select
        trains.server,
        trains.process,
        trains.kind,
        trains.heavy,
        trains.event_no,
        trains.first_bin,
        trains.end_bin,
        guards.guard,
        greatest(trains.end_bin - trains.first_bin, ceil(10000000 / spans.bin_us)) as reach,
        coalesce((lag(trains.end_bin) over same_kind + trains.first_bin) // 2, 0) as earliest,
        coalesce((trains.end_bin + lead(trains.first_bin) over same_kind) // 2, trains.bins) as latest
    from trains
    inner join spans on trains.server = spans.server
    inner join guards on trains.server = guards.server
    window same_kind as (partition by trains.server, trains.process, trains.kind, trains.heavy order by trains.event_no)
),

sides as (
    select
        server,
        process,
        kind,
        heavy,
        event_no,
        true as is_inside,
        unnest(generate_series(first_bin, end_bin - 1)) as bin
    from surrounded
    union all
    select
        server,
        process,
        kind,
        heavy,
        event_no,
        false as is_inside,
        unnest(
            list_concat(
                generate_series(
                    cast(greatest(greatest(first_bin - guard, earliest) - reach, earliest) as bigint),
                    cast(greatest(first_bin - guard, earliest) as bigint) - 1
                ),
                generate_series(end_bin, cast(least(end_bin + reach, latest) as bigint) - 1)
            )
        ) as bin
    from surrounded
),

kinds as (
    select
        server,
        process,
        kind,
        heavy,
        sum(end_bin - first_bin) as inside_bins
    from trains
    group by server, process, kind, heavy
),

-- the work that is the event itself is no effect of it
own as (
    select distinct
        server,
        coalesce(process, 'several') as process,
        kind,
        case when kind = 'heavy query' then fingerprint end as heavy,
        fingerprint
    from event_window
    where kind in ('heavy query', 'temporary files') and fingerprint is not null
),

-- executions of each duration that started in the events; outside are all others
inner_sizes as (
    select
        cells.server,
        sides.process,
        sides.kind,
        sides.heavy,
        cells.place,
        cells.size,
        sum(cells.calls) as calls
    from cells
    inner join sides on cells.server = sides.server and cells.bin = sides.bin and sides.is_inside
    group by all
),

sizes as (
    select
        server,
        place,
        size,
        sum(calls) as calls
    from cells
    group by server, place, size
),

outer_sizes as (
    select
        kinds.server,
        kinds.process,
        kinds.kind,
        kinds.heavy,
        kinds.inside_bins,
        sizes.place,
        sizes.size,
        sizes.calls as all_calls,
        sizes.calls - coalesce(inner_sizes.calls, 0) as calls
    from kinds
    inner join sizes on kinds.server = sizes.server
    left join inner_sizes
        on
            kinds.server = inner_sizes.server
            and kinds.process = inner_sizes.process
            and kinds.kind = inner_sizes.kind
            and kinds.heavy is not distinct from inner_sizes.heavy
            and sizes.place = inner_sizes.place
            and sizes.size is not distinct from inner_sizes.size
),

totals as (
    select
        *,
        sum(calls) over query_of_kind as outer_calls,
        sum(all_calls) over query_of_kind as query_calls,
        sum(calls) over (
            partition by server, process, kind, heavy, place order by size desc nulls last
        ) as outer_calls_from,
        sum(all_calls) over (partition by server, process, kind, heavy, place order by size desc nulls last)
            as all_calls_from
    from outer_sizes
    window query_of_kind as (partition by server, process, kind, heavy, place)
),

-- slow is above the 90th percentile outside, or of all where there is little outside; queries that hardly run outside
-- cannot be compared
limits as (
    select
        totals.server,
        totals.process,
        totals.kind,
        totals.heavy,
        totals.place,
        coalesce(
            max(totals.size) filter (
                where
                case
                    when totals.outer_calls >= 50 then totals.outer_calls_from > floor(0.1 * totals.outer_calls)
                    else totals.all_calls_from > totals.query_calls - 1 - floor(0.9 * (totals.query_calls - 1))
                end
            ),
            min(totals.size)
        ) as size_limit,
        exp((size_limit + 1) / 200) as limit_ms
    from totals
    inner join spans on totals.server = spans.server
    inner join ranked on totals.server = ranked.server and totals.place = ranked.place
    anti join own
        on
            totals.server = own.server
            and totals.process = own.process
            and totals.kind = own.kind
            and totals.heavy is not distinct from own.heavy
            and ranked.fingerprint = own.fingerprint
    where
        totals.outer_calls >= 5
        and (
            spans.is_censored
            or totals.outer_calls * totals.inside_bins
            >= 0.2 * (totals.query_calls - totals.outer_calls) * (spans.bins - totals.inside_bins)
        )
    group by totals.server, totals.process, totals.kind, totals.heavy, totals.place
),

counted as (
    select
        limits.server,
        limits.process,
        limits.kind,
        limits.heavy,
        limits.place,
        sides.event_no,
        sides.is_inside,
        sum(cells.calls) as calls,
        coalesce(sum(cells.calls) filter (where cells.size > limits.size_limit), 0) as slow,
        -- whole nanoseconds have the same sum in any order
        coalesce(
            sum(cast(1e6 * (cells.total_ms - cells.calls * limits.limit_ms) as hugeint)) filter (
                where cells.size > limits.size_limit
            ),
            0
        ) as over_ns
    from limits
    inner join sides
        on
            limits.server = sides.server
            and limits.process = sides.process
            and limits.kind = sides.kind
            and limits.heavy is not distinct from sides.heavy
    inner join cells on limits.server = cells.server and limits.place = cells.place and sides.bin = cells.bin
    group by all
),

lengths as (
    select
        sides.server,
        sides.process,
        sides.kind,
        sides.heavy,
        sides.event_no,
        count(*) filter (where sides.is_inside) * any_value(spans.bin_us) / 1e6 as inside_s,
        count(*) filter (where not sides.is_inside) * any_value(spans.bin_us) / 1e6 as outside_s,
        any_value(spans.is_censored) as is_censored
    from sides
    inner join spans on sides.server = spans.server
    group by all
),

-- place 0 is all queries together
placed as (
    select
        *,
        unnest([0, place]) as row_place
    from counted
),

events as (
    select
        placed.server,
        placed.process,
        placed.kind,
        placed.heavy,
        placed.row_place as place,
        placed.event_no,
        cast(coalesce(sum(placed.calls) filter (where placed.is_inside), 0) as double) as calls_in,
        cast(coalesce(sum(placed.calls) filter (where not placed.is_inside), 0) as double) as calls_out,
        cast(coalesce(sum(placed.slow) filter (where placed.is_inside), 0) as double) as slow_in,
        cast(coalesce(sum(placed.slow) filter (where not placed.is_inside), 0) as double) as slow_out,
        coalesce(sum(placed.over_ns) filter (where placed.is_inside), 0) as over_in,
        coalesce(sum(placed.over_ns) filter (where not placed.is_inside), 0) as over_out
    from placed
    inner join ranked on placed.server = ranked.server and placed.place = ranked.place
    where placed.row_place = 0 or (placed.row_place <= $top and ranked.calls >= 100)
    group by all
),

based as (
    select
        events.*,
        case when lengths.is_censored then lengths.inside_s else events.calls_in end as base_in,
        case when lengths.is_censored then lengths.outside_s else events.calls_out end as base_out,
        base_in / (base_in + base_out) as share
    from events
    inner join lengths
        on
            events.server = lengths.server
            and events.process = lengths.process
            and events.kind = lengths.kind
            and events.heavy is not distinct from lengths.heavy
            and events.event_no = lengths.event_no
    where base_in > 0 and base_out > 0
),

-- half an execution more on either side keeps the ratio finite
weighted as (
    select
        *,
        slow_in * (1 - share) + 0.25 / count(*) over same_test as above,
        slow_out * share + 0.25 / count(*) over same_test as below
    from based
    window same_test as (partition by server, process, kind, heavy, place)
),

-- fractions have the same sum each time if they are added in order
parts as (
    select
        *,
        above / sum(above) over same_test - below / sum(below) over same_test as influence
    from weighted
    window same_test as (
        partition by server, process, kind, heavy, place
        order by event_no rows between unbounded preceding and unbounded following
    )
),

tested as (
    select
        server,
        process,
        kind,
        heavy,
        place,
        count(*) as events,
        sum(above order by event_no) / sum(below order by event_no) as slow_ratio,
        sqrt(sum(influence * influence order by event_no)) * count(*) / nullif(count(*) - 1, 0) as error,
        cast(sum(slow_in) as bigint) as slow_inside,
        sum(base_in order by event_no) / sum(base_out * share order by event_no) as scale,
        scale * sum(slow_out * share order by event_no) as expected_inside,
        (sum(over_in) - scale * sum(over_out * share order by event_no)) / 1e9 as excess_s,
        1.96 + 2.3733 / (count(*) - 1) + 2.8225 / power(count(*) - 1, 2) as student
    from parts
    group by server, process, kind, heavy, place
)

select
    tested.server,
    tested.process,
    tested.kind,
    coalesce(heavy_query.query_text, tested.heavy) as subject,
    ranked.fingerprint,
    case when tested.place = 0 then '(all)' else query.query_text end as query_text,
    tested.events,
    tested.slow_ratio,
    case when tested.events >= 8 then tested.slow_ratio * exp(-tested.student * tested.error) end as slow_ratio_low,
    case when tested.events >= 8 then tested.slow_ratio * exp(tested.student * tested.error) end as slow_ratio_high,
    tested.slow_inside,
    tested.expected_inside,
    tested.excess_s
from tested
left join ranked on tested.server = ranked.server and tested.place = ranked.place
left join query on ranked.fingerprint = query.fingerprint
left join query as heavy_query on tested.heavy = heavy_query.fingerprint
order by
    tested.server asc,
    tested.place > 0,
    tested.excess_s desc,
    tested.process asc,
    tested.kind asc,
    tested.heavy asc,
    tested.place asc
