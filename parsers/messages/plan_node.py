"""Nodes of the plans that auto_explain logs in text or json (auto_explain.log_format; src/backend/commands/explain.c).

Figures are as the server prints them: actual times and rows are averages per loop, buffers, I/O times and WAL are sums
over all loops and include the nodes below. Names are those of json in both formats: a ``Hash Left Join`` of the text is
a ``Hash Join`` with ``join_type`` Left, a ``HashAggregate`` an ``Aggregate`` with ``strategy`` Hashed, an ``Insert`` a
``ModifyTable``. A node that was never executed has 0 loops and neither times nor rows, where json prints zeros.

The text leaves out what is zero, and those columns are null then; it does not say ``parent_relationship`` but of
subplans. Of a scan of several functions (ROWS FROM) it prints the alias alone, which is read as the function's name.

Limitations: what parallel workers did each is not read, nor sort groups of an Incremental Sort; no nodes of xml and
yaml.
"""

from __future__ import annotations

import polars as pl

from pgtrace.message import MessageType
from pgtrace.plantext import nodes_of, parts_of
from pgtrace.schema import SESSION, Column

_COLUMNS = {
    "node_no": Column("number of the node in its plan, from 1, as printed", int),
    "parent_no": Column("number of the node above it, null for the top", int),
    "depth": Column("nodes above it", int),
    "node_type": Column("Seq Scan, Hash Join, Aggregate, …"),
    "relation_name": Column("relation that it reads or changes"),
    "schema_name": Column("schema of the relation or function (auto_explain.log_verbose)"),
    "alias": Column("name of the relation in the SQL"),
    "index_name": Column("index"),
    "function_name": Column("function that is scanned"),
    "cte_name": Column("common table expression that is scanned"),
    "join_type": Column("Inner, Left, Right, Full, Semi, Anti, …"),
    "strategy": Column("Plain, Sorted, Hashed or Mixed"),
    "partial_mode": Column("of aggregates: Simple, Partial or Finalize"),
    "operation": Column("Insert, Update, Delete, Merge, Select; of set operations Except, Intersect, … All"),
    "parent_relationship": Column("Outer, Inner, Member, Subquery, InitPlan, SubPlan; text says the last two only"),
    "subplan_name": Column("InitPlan n, SubPlan n or CTE name"),
    "is_parallel_aware": Column("whether the processes of a parallel query share its work", bool),
    "is_disabled": Column("whether a setting enable_… speaks against it, from version 18", bool),
    "startup_cost": Column("estimated cost until the first row", float),
    "total_cost": Column("estimated cost", float),
    "plan_rows": Column("estimated rows", float),
    "plan_width": Column("estimated size of a row", int, "bytes"),
    "actual_startup_ms": Column("time until the first row, per loop", float, "ms"),
    "actual_total_ms": Column("time until the last row, per loop (auto_explain.log_timing)", float, "ms"),
    "actual_rows": Column("rows per loop (auto_explain.log_analyze); a whole number before version 18", float),
    "actual_loops": Column("how often it was executed", int),
    "is_never_executed": Column("whether it was not executed at all", bool),
    "workers_planned": Column("parallel workers wanted", int),
    "workers_launched": Column("parallel workers that were there", int),
    "filter": Column("condition that its rows are tested with"),
    "index_cond": Column("condition that the index finds"),
    "recheck_cond": Column("condition that rows of a bitmap are tested with again"),
    "hash_cond": Column("condition of a hash join"),
    "merge_cond": Column("condition of a merge join"),
    "join_filter": Column("further condition of a join"),
    "rows_removed_by_filter": Column("rows that the filter dropped, per loop", float),
    "rows_removed_by_join_filter": Column("rows that the join filter dropped, per loop", float),
    "rows_removed_by_recheck": Column("rows that the recheck dropped, per loop", float),
    "sort_method": Column("quicksort, top-N heapsort, external merge, …"),
    "sort_space_kb": Column("memory or disk that the sort took", int, "kB"),
    "sort_space_type": Column("Memory or Disk"),
    "hash_buckets": Column("buckets of a hash", int),
    "hash_batches": Column("batches of a hash or of a hashed aggregate; more than 1 went to disk", int),
    "peak_memory_kb": Column("most memory taken by a hash, an aggregate, Memoize, from 17 a tuplestore", int, "kB"),
    "disk_kb": Column("disk taken by a hashed aggregate, from 17 a tuplestore", int, "kB"),
    "heap_fetches": Column("rows that an Index Only Scan had to look up in the table", int),
    "index_searches": Column("descents of the index, from version 18", int),
    "shared_hit_blocks": Column("blocks found in shared buffers", int),
    "shared_read_blocks": Column("blocks read into shared buffers", int),
    "shared_dirtied_blocks": Column("blocks dirtied", int),
    "shared_written_blocks": Column("dirty blocks that it had to write itself", int),
    "local_hit_blocks": Column("blocks of temporary tables found in memory", int),
    "local_read_blocks": Column("blocks of temporary tables read", int),
    "local_dirtied_blocks": Column("blocks of temporary tables dirtied", int),
    "local_written_blocks": Column("blocks of temporary tables written", int),
    "temp_read_blocks": Column("blocks read from temporary files", int),
    "temp_written_blocks": Column("blocks written to temporary files", int),
    "io_read_ms": Column("time to read shared and local blocks (track_io_timing)", float, "ms"),
    "io_write_ms": Column("time to write shared and local blocks", float, "ms"),
    "temp_io_read_ms": Column("time to read temporary files, from version 15", float, "ms"),
    "temp_io_write_ms": Column("time to write temporary files, from version 15", float, "ms"),
    "wal_records": Column("WAL records (auto_explain.log_wal), from version 13", int),
    "wal_fpi": Column("full page images in WAL", int),
    "wal_bytes": Column("WAL written", int, "bytes"),
}


def read(records: pl.DataFrame) -> pl.DataFrame:
    """One row per node, plan by plan."""
    plans = records.hstack(parts_of(records["message"]).select("format", "plan_text"))
    nodes = nodes_of(plans)
    kept = plans.with_row_index("plan").select("plan", "source_id", "line_no", *SESSION)
    found = {name: column for name, column in _COLUMNS.items() if name in nodes.columns}
    typed = nodes.select(
        "plan", *(pl.col(name).cast(column.polars_type, strict=False) for name, column in found.items())
    )
    return typed.join(kept, on="plan", how="left", maintain_order="left")


MESSAGE = MessageType(
    table="plan_node",
    one_row_per="node of a plan of auto_explain",
    process="backend",
    within="plan",
    contains=(" ms  plan:",),
    is_part=True,
    columns=_COLUMNS,
    keeps=SESSION,
    read_with=read,
)
