-- Who used the buffers: vacuum, analyze, checkpoints, the executions that auto_explain logged?
--
-- Buffers are of 8 kB, unless the server was built otherwise. Plans tell of theirs with auto_explain.log_analyze and
-- log_buffers; of nested statements (log_nested_statements) they are also in the statement around them. A checkpoint
-- writes what others dirtied.
--
-- Reads:
--   autovacuum, autoanalyze, plan, plan_node, checkpoint, query
-- Columns:
--   server        VARCHAR  server
--   process       VARCHAR  client backend, autovacuum worker or checkpointer
--   what          VARCHAR  vacuum, analyze, checkpoint, restartpoint, or the top node of the plan
--   subject       VARCHAR  the table, or the SQL with $n in place of constants
--   runs          BIGINT   how often
--   hits          BIGINT   buffers found in shared_buffers
--   reads         BIGINT   buffers read
--   hit_pct       DOUBLE   share of hits
--   dirtied       BIGINT   buffers dirtied
--   written       BIGINT   buffers written
--   slru_written  BIGINT   buffers of SLRU caches written (commit log, subtransactions …), from version 18
--   fingerprint   VARCHAR  the shape of the SQL
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  ended at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  ended before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show
with
tops as (
    select
        server,
        source_id,
        line_no,
        node_type
    from plan_node
    where node_no = 1
),

used as (
    select
        server,
        logged_at,
        'autovacuum worker' as process,
        'vacuum' as what,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        cast(null as varchar) as fingerprint,
        buffer_hits as hits,
        buffer_reads as reads,
        buffer_dirtied as dirtied,
        cast(null as bigint) as written,
        cast(null as bigint) as slru_written
    from autovacuum
    union all
    select
        server,
        logged_at,
        'autovacuum worker' as process,
        'analyze' as what,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        null as fingerprint,
        buffer_hits as hits,
        buffer_reads as reads,
        buffer_dirtied as dirtied,
        null as written,
        null as slru_written
    from autoanalyze
    union all
    select
        server,
        completed_at as logged_at,
        'checkpointer' as process,
        process_kind as what,
        null as relation,
        null as fingerprint,
        null as hits,
        null as reads,
        null as dirtied,
        buffers_written as written,
        slru_written
    from checkpoint
    where completed_at is not null
    union all
    select
        plan.server,
        plan.logged_at,
        'client backend' as process,
        tops.node_type as what,
        null as relation,
        plan.fingerprint,
        plan.shared_hit_blocks as hits,
        plan.shared_read_blocks as reads,
        plan.shared_dirtied_blocks as dirtied,
        plan.shared_written_blocks as written,
        null as slru_written
    from plan
    left join tops on plan.server = tops.server and plan.source_id = tops.source_id and plan.line_no = tops.line_no
),

summed as (
    select
        server,
        process,
        what,
        relation,
        fingerprint,
        count(*) as runs,
        cast(sum(hits) as bigint) as hits,
        cast(sum(reads) as bigint) as reads,
        cast(sum(dirtied) as bigint) as dirtied,
        cast(sum(written) as bigint) as written,
        cast(sum(slru_written) as bigint) as slru_written
    from used
    where
        coalesce(hits, reads, dirtied, written, slru_written) is not null
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server, process, what, relation, fingerprint
)

select
    summed.server,
    summed.process,
    summed.what,
    coalesce(summed.relation, query.query_text) as subject,
    summed.runs,
    summed.hits,
    summed.reads,
    100.0 * summed.hits / nullif(summed.hits + summed.reads, 0) as hit_pct,
    summed.dirtied,
    summed.written,
    summed.slru_written,
    summed.fingerprint
from summed
left join query on summed.fingerprint = query.fingerprint
order by
    greatest(
        coalesce(summed.reads, 0) + coalesce(summed.dirtied, 0),
        coalesce(summed.written, 0)
    ) desc,
    summed.hits desc nulls last,
    summed.server asc,
    summed.process asc,
    summed.what asc,
    summed.relation asc,
    summed.fingerprint asc
limit $top
