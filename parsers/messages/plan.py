"""Plans that auto_explain logs (auto_explain.log_min_duration; contrib/auto_explain/auto_explain.c).

A plan belongs to an execution: the view says which record tells of that one, ``execution_source_id`` and
``execution_line_no``. That is the duration line of the statement where there is one, else the plan itself, which then
is the execution in table ``statement`` too. Nested plans (auto_explain.log_nested_statements) are executions of their
own.

``plan_hash`` is the same for plans of the same shape: node types, what they read and by which index, and how they are
nested, without any number. Text and json give the same hash.

Figures of the plan's top node include those of all nodes below it. The text leaves out counters that are zero, which
are null then; json prints zeros. auto_explain knows nothing of the planning, neither time nor buffers.

Limitations: of auto_explain.log_format xml and yaml the plan is kept as a text, with its SQL and its duration; its
nodes are not read, and what comes of them is null.
"""

from __future__ import annotations

import hashlib

import polars as pl

from pgtrace.message import MessageType
from pgtrace.plantext import extras_of, nodes_of, parts_of
from pgtrace.schema import SESSION, Column

_OF_TOP = {
    "startup_cost": Column("estimated cost until the first row", float),
    "total_cost": Column("estimated cost", float),
    "plan_rows": Column("estimated rows", float),
    "actual_total_ms": Column("how long the top node took per loop (auto_explain.log_analyze)", float, "ms"),
    "shared_hit_blocks": Column("blocks found in shared buffers (auto_explain.log_buffers)", int),
    "shared_read_blocks": Column("blocks read into shared buffers", int),
    "shared_dirtied_blocks": Column("blocks dirtied", int),
    "shared_written_blocks": Column("dirty blocks that it had to write itself", int),
    "temp_read_blocks": Column("blocks read from temporary files", int),
    "temp_written_blocks": Column("blocks written to temporary files", int),
    "wal_records": Column("WAL records (auto_explain.log_wal), from version 13", int),
    "wal_fpi": Column("full page images in WAL", int),
    "wal_bytes": Column("WAL written", int, "bytes"),
}
#: what makes the shape of a plan
_SHAPE = (
    "depth", "node_type", "strategy", "partial_mode", "join_type", "operation", "is_parallel_aware",
    "relation_name", "function_name", "cte_name", "index_name",
)  # fmt: skip
_EXECUTION = {
    "execution_source_id": Column("the file of the record that tells of the execution"),
    "execution_line_no": Column("the line on which that record begins", int),
}


def read(records: pl.DataFrame) -> pl.DataFrame:
    """One row per plan."""
    plans = records.drop("statement").hstack(parts_of(records["message"])).filter(pl.col("format").is_not_null())
    nodes = nodes_of(plans)
    extras = extras_of(plans)
    plans = plans.with_columns(extras.drop("query_id")).with_columns(
        pl.coalesce(extras["query_id"].cast(pl.Int64, strict=False), plans["query_id"]).alias("query_id")
    )
    plans = plans.with_row_index("plan")
    if nodes.is_empty():
        return plans
    shape = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in _SHAPE], separator="\x1f")
    shapes = nodes.group_by("plan").agg(pl.len().alias("node_count"), shape.str.join("\x1e").alias("shape"))
    top = nodes.filter(node_no=1).select(
        "plan", *(pl.col(n).cast(c.polars_type, strict=False) for n, c in _OF_TOP.items())
    )
    shapes = shapes.with_columns(_hashed(shapes["shape"])).join(top, on="plan")
    return plans.join(shapes, on="plan", how="left", maintain_order="left")


def _hashed(shapes: pl.Series) -> pl.Series:
    """16 hexadecimal digits for each; distinct shapes are few."""
    distinct = shapes.unique()
    hashes = [hashlib.blake2b(shape.encode(), digest_size=8).hexdigest() for shape in distinct]
    return shapes.replace_strict(distinct, pl.Series(hashes, dtype=pl.String), return_dtype=pl.String).alias(
        "plan_hash"
    )


_COLUMNS = {
    "query_id": Column("query identifier (compute_query_id), from version 14; 0 is none", int),
    "duration_ms": Column("how long the execution took", float, "ms"),
    "format": Column("text, json, xml or yaml (auto_explain.log_format)"),
    "statement": Column("the SQL"),
    "fingerprint": Column("shape of the SQL (see table query)"),
    "parameters": Column("parameter values (auto_explain.log_parameter_max_length), from version 16"),
    "plan_hash": Column("shape of the plan: its nodes without any number"),
    "node_count": Column("nodes (see table plan_node)", int),
    **_OF_TOP,
    "jit_ms": Column("time that JIT compilation took", float, "ms"),
    "trigger_ms": Column("time in triggers (auto_explain.log_triggers)", float, "ms"),
    "settings": Column("settings that are not the default (auto_explain.log_settings)"),
    "plan_text": Column("the plan as logged, without SQL and parameters"),
}

MESSAGE = MessageType(
    table="plan",
    one_row_per="plan of auto_explain",
    process="backend",
    within="statement",
    contains=(" ms  plan:",),
    columns=_COLUMNS,
    keeps=SESSION,
    read_with=read,
    view=f"""
    select own.server, own.source_id, own.line_no, {", ".join(f"own.{name}" for name in {**SESSION, **_COLUMNS})},
        coalesce(told.execution_source_id, own.source_id) as execution_source_id,
        coalesce(told.execution_line_no, own.line_no) as execution_line_no
    from {{stored}} as own
    left join {{statement}} as told
        on told.server = own.server and told.source_id = own.source_id and told.line_no = own.line_no
        and told.execution_line_no is not null
    """,
    view_reads=("statement",),
    view_columns={**SESSION, **_COLUMNS, **_EXECUTION},
)
