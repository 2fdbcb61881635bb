-- When were queries slow, found without being told when?
--
-- A CUSUM (Page 1954) of slow executions per bin of time, for all queries together and for those with most time. Slow
-- is above the 90th percentile of the same query. A bin adds the evidence that slow executions are $ratio times as
-- many as usual (or up to its 4th power), over how bursty they are; the sum stays between 0 and twice the threshold.
-- An episode begins after a 0 and ends where the sum is largest. Of all queries together a slow execution counts by
-- the root of the time it is over. Where nothing below 1 ms is logged, bins are compared by time, not by executions.
-- Durations are read to within 5 %; queries with fewer than 20 executions are left out.
--
-- Reads:
--   statement, query
-- Columns:
--   server            VARCHAR                   server
--   fingerprint       VARCHAR                   the query; null: all, or executions whose SQL was not logged
--   query_text        VARCHAR                   the query; (all) for all queries
--   started_at        TIMESTAMP WITH TIME ZONE  when it began, to the bin
--   ended_at          TIMESTAMP WITH TIME ZONE  when it ended, to the bin
--   calls             BIGINT                    logged executions that started in it
--   slow_calls        BIGINT                    of them slow
--   slow_pct          DOUBLE                    their share
--   usual_slow_pct    DOUBLE                    their share outside of such episodes
--   times_as_many     DOUBLE                    slow executions by the usual, counted as said above
--   p95_ms            DOUBLE                    95th percentile of the durations in it
--   usual_p95_ms      DOUBLE                    95th percentile outside of such episodes
--   excess_s          DOUBLE                    seconds beyond what is slow, less as many as usual
--   score             DOUBLE                    evidence; above the threshold it is an episode
--   bin_s             DOUBLE                    length of a bin
-- Parameters:
--   $since      TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until      TIMESTAMP WITH TIME ZONE  null  before this time
--   $server     VARCHAR                   null  only this server
--   $ratio      DOUBLE                    2     so many times as many slow executions are looked for
--   $threshold  DOUBLE                    12    evidence that is needed
--   $step_s     DOUBLE                    null  length of a bin; null: a 1500th of the time, at least 1 s
--   $top        BIGINT                    20    queries looked at one by one
with recursive
shapes as (
    select
        server,
        fingerprint,
        count(*) as calls,
        round(fsum(duration_ms), 3) as total_ms,
        min(duration_ms) as shortest_ms,
        min(epoch_us(started_at)) as first_us,
        max(epoch_us(started_at)) as last_us
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
        1000000 * coalesce($step_s, greatest(1, ceil((max(last_us) - min(first_us)) / 1500000000.0))) as bin_us,
        max(last_us) as last_us
    from shapes
    group by server
),

-- the rarest queries have no usual duration
ranked as (
    select
        server,
        fingerprint,
        row_number() over (partition by server order by total_ms desc, fingerprint asc) as place
    from shapes
    where calls >= 20
    qualify place <= 200
),

-- executions, counted per query, bin and duration to within 5 %
cells as (
    select
        ranked.server,
        ranked.place,
        cast(floor((epoch_us(statement.started_at) - spans.origin_us) / spans.bin_us) as bigint) as bin,
        cast(floor(20 * ln(greatest(statement.duration_ms, 0.001))) as bigint) as size,
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

sizes as (
    select
        server,
        place,
        size,
        sum(calls) as calls,
        sum(sum(calls)) over (partition by server, place order by size) as calls_up_to,
        sum(sum(calls)) over (partition by server, place) as all_calls
    from cells
    group by server, place, size
),

-- slow is above this size
limits as (
    select
        server,
        place,
        min(size) as size_limit,
        exp((min(size) + 1) / 20) as limit_ms
    from sizes
    where calls_up_to >= 0.9 * all_calls
    group by server, place
),

-- of all queries together, an execution counts by the root of the time over its query's limit, so that what is slow by
-- much stands out, the longest of fifty as the next; in whole millionths, whose sum is the same in any order
overs as (
    select
        sizes.server,
        sizes.calls,
        round(1e6 * sqrt(exp((sizes.size + 0.5) / 20) - limits.limit_ms)) as root,
        sum(sizes.calls) over (partition by sizes.server order by root) as calls_up_to,
        sum(sizes.calls) over (partition by sizes.server) as all_calls
    from sizes
    inner join limits on sizes.server = limits.server and sizes.place = limits.place and sizes.size > limits.size_limit
),

caps as (
    select
        server,
        min(root) as most
    from overs
    where calls_up_to >= 0.98 * all_calls
    group by server
),

-- a mark's own scatter, as of Poisson's counts with marks; fractions have the same sum each time if added in order
grains as (
    select
        overs.server,
        sum(overs.calls * power(least(overs.root, caps.most), 2) order by overs.root, overs.calls)
        / sum(overs.calls * least(overs.root, caps.most)) as grain
    from overs
    inner join caps on overs.server = caps.server
    group by overs.server
),

bins as (
    select
        cells.server,
        cells.place,
        cells.bin,
        cast(sum(cells.calls) as double) as calls,
        cast(sum(if(cells.size > limits.size_limit, cells.calls, 0)) as double) as slow,
        sum(
            cells.calls
            * least(round(1e6 * sqrt(greatest(exp((cells.size + 0.5) / 20) - limits.limit_ms, 0))), caps.most)
        ) as mark,
        sum(greatest(cast(1e6 * (cells.total_ms - cells.calls * limits.limit_ms) as hugeint), 0)) as over_ns
    from cells
    inner join limits on cells.server = limits.server and cells.place = limits.place
    left join caps on cells.server = caps.server
    group by all
),

-- place 0 is all queries together
series as (
    select
        server,
        place,
        bin,
        calls,
        slow,
        slow as mark,
        over_ns,
        calls * sum(slow) over (partition by server, place) / sum(calls) over (partition by server, place) as expected
    from bins
    where place <= $top
    union all
    select
        server,
        0 as place,
        bin,
        calls,
        slow,
        mark,
        over_ns,
        round(
            calls * sum(mark) over (partition by server, place) / sum(calls) over (partition by server, place)
        ) as expected
    from bins
),

summed as (
    select
        server,
        place,
        bin,
        sum(calls) as calls,
        sum(slow) as slow,
        sum(mark) as mark,
        sum(over_ns) as over_ns,
        sum(expected) as expected
    from series
    group by server, place, bin
),

-- in a long time without any execution the log, or the server, was not there
steps as (
    select
        server,
        bin,
        coalesce(lead(bin) over (partition by server order by bin) - bin, 1) as step
    from summed
    where place = 0
),

moments as (
    select
        steps.server,
        unnest(
            generate_series(
                steps.bin,
                case
                    when steps.step * spans.bin_us > greatest(120000000, 50 * spans.bin_us) then steps.bin
                    else steps.bin + steps.step - 1
                end
            )
        ) as bin,
        spans.is_censored
    from steps
    inner join spans on steps.server = spans.server
),

-- parts of the time with some twenty slow executions each
lives as (
    select
        summed.server,
        summed.place,
        sum(summed.mark) as mark,
        case when summed.place = 0 then any_value(grains.grain) else 1 end as own_grain,
        cast(least(60, greatest(4, sum(summed.mark) / (20 * own_grain))) as bigint) as parts
    from summed
    inner join grains on summed.server = grains.server
    group by summed.server, summed.place
    having sum(summed.slow) >= 5
),

-- every bin, with as many slow executions as usual on average
filled as (
    select
        moments.server,
        lives.place,
        moments.bin,
        moments.is_censored,
        coalesce(summed.calls, 0) as calls,
        coalesce(summed.slow, 0) as slow,
        coalesce(summed.mark, 0) as mark,
        coalesce(summed.over_ns, 0) as over_ns,
        case
            when moments.is_censored then lives.mark / count(*) over (partition by moments.server, lives.place)
            else coalesce(summed.expected, 0)
        end as expected,
        lives.parts,
        count(*) over (partition by moments.server, lives.place) as steps,
        row_number() over (partition by moments.server, lives.place order by moments.bin) as step
    from moments
    inner join lives on moments.server = lives.server
    left join summed
        on moments.server = summed.server and lives.place = summed.place and moments.bin = summed.bin
),

parts as (
    select
        server,
        place,
        (step - 1) * parts // steps as part,
        sum(mark) / nullif(sum(expected order by step), 0) as level
    from filled
    group by server, place, part
),

-- what is usual is the lower quarter of these, so that episodes do not make themselves usual
levels as (
    select
        server,
        place,
        greatest(quantile_cont(level, 0.25), 0.2) as level
    from parts
    group by server, place
),

scattered as (
    select
        filled.server,
        filled.place,
        power(filled.mark - filled.expected * levels.level, 2) / (filled.expected * levels.level) as square,
        percent_rank() over (
            partition by filled.server, filled.place
            order by power(filled.mark - filled.expected * levels.level, 2) / (filled.expected * levels.level)
        ) as square_rank
    from filled
    inner join levels on filled.server = levels.server and filled.place = levels.place
    where filled.expected > 0
),

-- how much more scattered bins are than Poisson's, by the three quarters nearest to the usual (mean square: 0.37)
scatter as (
    select
        scattered.server,
        scattered.place,
        greatest(any_value(lives.own_grain), avg(scattered.square order by scattered.square) / 0.37) as dispersion
    from scattered
    inner join lives on scattered.server = lives.server and scattered.place = lives.place
    where scattered.square_rank <= 0.75
    group by all
),

evidence as (
    select
        filled.server,
        filled.place,
        filled.step,
        filled.bin,
        filled.calls,
        filled.slow,
        filled.mark,
        filled.over_ns,
        filled.expected * levels.level as expected,
        filled.is_censored,
        scatter.dispersion
    from filled
    inner join levels on filled.server = levels.server and filled.place = levels.place
    inner join scatter on filled.server = scatter.server and filled.place = scatter.place
),

-- looked for twice: as $ratio times as many, and as very many, which tells apart what is close together
gains as (
    select
        evidence.server,
        evidence.place,
        scales.scale,
        list(
            (
                evidence.mark * ln(power($ratio, scales.scale))
                - evidence.expected * (power($ratio, scales.scale) - 1)
            ) / evidence.dispersion
            order by evidence.step
        ) as gain_list
    from evidence
    cross join (values (1), (2), (3), (4)) as scales (scale)
    group by all
),

walk as (
    select
        server,
        place,
        scale,
        gain_list,
        cast(1 as bigint) as step,
        least(2 * $threshold, greatest(0, gain_list[1])) as score
    from gains
    union all
    select
        walk.server,
        walk.place,
        walk.scale,
        walk.gain_list,
        walk.step + 1 as step,
        least(2 * $threshold, greatest(0, walk.score + walk.gain_list[walk.step + 1])) as score
    from walk
    where walk.step < len(walk.gain_list)
),

-- from one bin whose sum is 0 to the next
excursions as (
    select
        server,
        place,
        scale,
        step,
        score,
        count(*) filter (where score = 0) over (partition by server, place, scale order by step) as excursion
    from walk
),

peaks as (
    select
        server,
        place,
        scale,
        min(step) as first_step,
        arg_max(step, (score, step)) as last_step,
        max(score) as score
    from excursions
    where score > 0
    group by server, place, scale, excursion
    having max(score) > $threshold
),

candidates as (
    select
        evidence.server,
        evidence.place,
        peaks.scale,
        peaks.first_step,
        peaks.last_step,
        any_value(peaks.score) as score,
        min(evidence.bin) as first_bin,
        max(evidence.bin) as last_bin,
        sum(evidence.calls) as calls,
        sum(evidence.slow) as slow,
        sum(evidence.mark) as mark,
        sum(evidence.over_ns) as over_ns,
        count(*) as bins,
        any_value(evidence.is_censored) as is_censored
    from evidence
    inner join peaks
        on
            evidence.server = peaks.server
            and evidence.place = peaks.place
            and evidence.step between peaks.first_step and peaks.last_step
    group by all
),

-- how much of an episode is in shorter ones that are steeper
parts_of as (
    select
        long.server,
        long.place,
        long.scale,
        long.first_step,
        short.scale as short_scale,
        sum(short.mark) / any_value(long.mark) as share
    from candidates as long
    inner join candidates as short
        on
            long.server = short.server
            and long.place = short.place
            and long.scale < short.scale
            and long.first_step <= short.last_step
            and long.last_step >= short.first_step
    group by all
),

-- what is for the most part shorter ones is told as these
whole as (
    select
        candidates.server,
        candidates.place,
        candidates.scale,
        candidates.first_step,
        candidates.last_step
    from candidates
    left join parts_of
        on
            candidates.server = parts_of.server
            and candidates.place = parts_of.place
            and candidates.scale = parts_of.scale
            and candidates.first_step = parts_of.first_step
    group by all
    having coalesce(max(parts_of.share), 0) < 0.5
),

-- and what is not, as one
found as (
    select
        candidates.server,
        candidates.place,
        candidates.first_step,
        candidates.score,
        candidates.first_bin,
        candidates.last_bin,
        candidates.calls,
        candidates.slow,
        candidates.mark,
        candidates.over_ns,
        candidates.bins,
        candidates.is_censored
    from candidates
    semi join whole
        on
            candidates.server = whole.server
            and candidates.place = whole.place
            and candidates.scale = whole.scale
            and candidates.first_step = whole.first_step
    anti join whole as wider
        on
            candidates.server = wider.server
            and candidates.place = wider.place
            and candidates.scale > wider.scale
            and candidates.first_step <= wider.last_step
            and candidates.last_step >= wider.first_step
),

-- all other time
usual as (
    select
        evidence.server,
        evidence.place,
        sum(evidence.calls) as calls,
        sum(evidence.slow) as slow,
        sum(evidence.mark) as mark,
        sum(evidence.over_ns) as over_ns,
        count(*) as bins
    from evidence
    anti join found
        on
            evidence.server = found.server
            and evidence.place = found.place
            and evidence.bin between found.first_bin and found.last_bin
    group by evidence.server, evidence.place
),

-- durations in each episode (first_step is 0: outside of all)
durations as (
    select
        cells.server,
        usual.place,
        coalesce(found.first_step, 0) as first_step,
        cells.size,
        sum(cells.calls) as calls
    from cells
    inner join usual on cells.server = usual.server and usual.place in (0, cells.place)
    left join found
        on
            usual.server = found.server
            and usual.place = found.place
            and cells.bin between found.first_bin and found.last_bin
    group by all
),

durations_rising as (
    select
        *,
        sum(calls) over (partition by server, place, first_step order by size) as calls_up_to,
        sum(calls) over (partition by server, place, first_step) as all_calls
    from durations
),

percentiles as (
    select
        server,
        place,
        first_step,
        exp((min(size) + 0.5) / 20) as p95_ms
    from durations_rising
    where calls_up_to >= 0.95 * all_calls
    group by server, place, first_step
)

select
    found.server,
    ranked.fingerprint,
    case when found.place = 0 then '(all)' else query.query_text end as query_text,
    make_timestamptz(cast(spans.origin_us + found.first_bin * spans.bin_us as bigint)) as started_at,
    make_timestamptz(cast(spans.origin_us + (found.last_bin + 1) * spans.bin_us as bigint)) as ended_at,
    cast(found.calls as bigint) as calls,
    cast(found.slow as bigint) as slow_calls,
    100 * found.slow / nullif(found.calls, 0) as slow_pct,
    100 * usual.slow / nullif(usual.calls, 0) as usual_slow_pct,
    case
        when found.is_censored then (found.mark / found.bins) / nullif(usual.mark / nullif(usual.bins, 0), 0)
        else (found.mark / found.calls) / nullif(usual.mark / nullif(usual.calls, 0), 0)
    end as times_as_many,
    inner_p95.p95_ms,
    usual_p95.p95_ms as usual_p95_ms,
    (
        found.over_ns
        - coalesce(
            case
                when found.is_censored then usual.over_ns / nullif(usual.bins, 0) * found.bins
                else usual.over_ns / nullif(usual.calls, 0) * found.calls
            end,
            0
        )
    ) / 1e9 as excess_s,
    found.score,
    spans.bin_us / 1e6 as bin_s
from found
inner join spans on found.server = spans.server
left join usual on found.server = usual.server and found.place = usual.place
left join percentiles as inner_p95
    on
        found.server = inner_p95.server
        and found.place = inner_p95.place
        and found.first_step = inner_p95.first_step
left join percentiles as usual_p95
    on found.server = usual_p95.server and found.place = usual_p95.place and usual_p95.first_step = 0
left join ranked on found.server = ranked.server and found.place = ranked.place
left join query on ranked.fingerprint = query.fingerprint
order by found.server asc, found.place asc, found.first_bin asc
