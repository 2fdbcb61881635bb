"""The words of an execution plan: which column each property of a node fills, in text and in json.

Text and json say the same in other words; the columns have json's. A ``Hash Left Join`` of the text is a ``Hash Join``
of ``join_type`` Left, a ``HashAggregate`` an ``Aggregate`` of ``strategy`` Hashed, an ``Insert`` a ``ModifyTable``.
What the text leaves out is null: counters that are zero, and whether a child is the outer or the inner one.
Source: ExplainNode and show_* in src/backend/commands/explain.c.
"""

from __future__ import annotations

import polars as pl

#: columns that text and json print under the same name, as "name: value"
_IN_BOTH: dict[str, tuple[str, ...]] = {
    "workers_planned": ("Workers Planned",),
    "workers_launched": ("Workers Launched",),
    "filter": ("Filter",),
    "index_cond": ("Index Cond",),
    "recheck_cond": ("Recheck Cond",),
    "hash_cond": ("Hash Cond",),
    "merge_cond": ("Merge Cond",),
    "join_filter": ("Join Filter",),
    "rows_removed_by_filter": ("Rows Removed by Filter",),
    "rows_removed_by_join_filter": ("Rows Removed by Join Filter",),
    "rows_removed_by_recheck": ("Rows Removed by Index Recheck",),
    "heap_fetches": ("Heap Fetches",),
    "index_searches": ("Index Searches",),  # 18
    "is_disabled": ("Disabled",),  # 18
}
_BLOCKS = {
    f"{kind}_{what}_blocks": (kind, what)
    for kind, of_kind in {
        "shared": ("hit", "read", "dirtied", "written"),
        "local": ("hit", "read", "dirtied", "written"),
        "temp": ("read", "written"),
    }.items()
    for what in of_kind
}
#: column: names of the property in json; of several, at most one is there
_IN_JSON: dict[str, tuple[str, ...]] = {
    **_IN_BOTH,
    "node_type": ("Node Type",),
    "provider": ("Custom Plan Provider",),
    "parent_relationship": ("Parent Relationship",),
    "subplan_name": ("Subplan Name",),
    "is_parallel_aware": ("Parallel Aware",),
    "strategy": ("Strategy",),
    "partial_mode": ("Partial Mode",),
    "operation": ("Operation", "Command"),
    "join_type": ("Join Type",),
    "relation_name": ("Relation Name", "Tuplestore Name"),
    "schema_name": ("Schema",),
    "function_name": ("Function Name", "Table Function Name"),
    "cte_name": ("CTE Name",),
    "alias": ("Alias",),
    "index_name": ("Index Name",),
    "startup_cost": ("Startup Cost",),
    "total_cost": ("Total Cost",),
    "plan_rows": ("Plan Rows",),
    "plan_width": ("Plan Width",),
    "actual_startup_ms": ("Actual Startup Time",),
    "actual_total_ms": ("Actual Total Time",),
    "actual_rows": ("Actual Rows",),
    "actual_loops": ("Actual Loops",),
    "sort_method": ("Sort Method",),
    "sort_space_kb": ("Sort Space Used",),
    "sort_space_type": ("Sort Space Type",),
    "hash_buckets": ("Hash Buckets",),
    "hash_batches": ("Hash Batches", "HashAgg Batches"),
    "peak_memory_kb": ("Peak Memory Usage",),
    "disk_kb": ("Disk Usage",),
    "storage": ("Storage",),  # 17
    "storage_kb": ("Maximum Storage",),
    "wal_records": ("WAL Records",),
    "wal_fpi": ("WAL FPI",),
    "wal_bytes": ("WAL Bytes",),
    "io_read_ms": ("I/O Read Time", "Shared I/O Read Time"),  # to 16 with that of local blocks in it
    "io_write_ms": ("I/O Write Time", "Shared I/O Write Time"),
    "local_io_read_ms": ("Local I/O Read Time",),  # 17
    "local_io_write_ms": ("Local I/O Write Time",),
    "temp_io_read_ms": ("Temp I/O Read Time",),  # 15
    "temp_io_write_ms": ("Temp I/O Write Time",),
    **{column: (f"{kind.title()} {what.title()} Blocks",) for column, (kind, what) in _BLOCKS.items()},
}
_MEMORY = ("Buckets", "Batches", "Planned Partitions", "Hits", "Storage")
#: column: the lines of a text plan that say it, by their first words, and how
_IN_TEXT: dict[str, tuple[tuple[str, ...], str]] = {
    **{column: (names, "(?s)^[^:]*: (.*)$") for column, names in _IN_BOTH.items()},
    "sort_method": (("Sort Method",), "^Sort Method: (.*?)  "),
    "sort_space_kb": (("Sort Method",), "(?:Memory|Disk): ([0-9]+)kB"),
    "sort_space_type": (("Sort Method",), "(Memory|Disk): [0-9]+kB"),
    "hash_buckets": (_MEMORY, "^Buckets: ([0-9]+)"),
    "hash_batches": (_MEMORY, "Batches: ([0-9]+)"),
    "peak_memory_kb": (_MEMORY, "Memory Usage: ([0-9]+)kB"),
    "disk_kb": (_MEMORY, "Disk Usage: ([0-9]+)kB"),
    "storage": (_MEMORY, "^Storage: ([A-Za-z]+)"),  # 17
    "storage_kb": (_MEMORY, "Maximum Storage: ([0-9]+)kB"),
    "wal_records": (("WAL",), " records=([0-9]+)"),
    "wal_fpi": (("WAL",), " fpi=([0-9]+)"),
    "wal_bytes": (("WAL",), " bytes=([0-9]+)"),
    # "I/O Timings: read=" to 14, "shared/local read=" to 16
    "io_read_ms": (("I/O Timings",), "^I/O Timings:(?: shared(?:/local)?)? read=([0-9.]+)"),
    "io_write_ms": (("I/O Timings",), "^I/O Timings:(?: shared(?:/local)?)?(?: read=[0-9.]+)? write=([0-9.]+)"),
    **{
        f"{kind}_io_{what}_ms": (("I/O Timings",), rf" {kind}(?: [a-z]+=[0-9.]+)*? {what}=([0-9.]+)")
        for kind in ("local", "temp")
        for what in ("read", "write")
    },
    **{
        column: (("Buffers",), rf" {kind}(?: [a-z]+=[0-9]+)*? {what}=([0-9]+)")
        for column, (kind, what) in _BLOCKS.items()
    },
}
#: names of the properties that are read
JSON_KEYS = sorted({name for names in _IN_JSON.values() for name in names})
TEXT_KEYS = sorted({name for names, _ in _IN_TEXT.values() for name in names})

_NODE = (
    r"(?s)^(?P<head>.*)  \(cost=(?P<startup_cost>[0-9.]+)\.\.(?P<total_cost>[0-9.]+)"
    r" rows=(?P<plan_rows>[0-9]+) width=(?P<plan_width>[0-9]+)\)"
    r"(?: \(actual (?:time=(?P<actual_startup_ms>[0-9.]+)\.\.(?P<actual_total_ms>[0-9.]+) )?"
    r"rows=(?P<actual_rows>[0-9.]+) loops=(?P<actual_loops>[0-9]+)\)|(?P<never> \(never executed\)))?$"
)
#: a name as quote_identifier prints it
_NAME = r'(?:"(?:[^"]|"")*"|[a-z_][a-z0-9_]*)'
_HEAD = (
    rf"(?s)^(?P<parallel>Parallel )?(?:Async )?(?P<words>[A-Z].*?)(?: Backward)?(?: using (?P<index>{_NAME}))?"
    rf"(?: on (?:(?P<schema_name>{_NAME})\.)?(?P<target>{_NAME})(?: (?P<other_name>{_NAME}))?)?$"
)
_JOIN = "^(Nested Loop|Merge|Hash)(?: (Left|Right|Full|Semi|Anti|Right Anti|Right Semi))? Join$"
_AGGREGATE = "^(?:(Partial|Finalize) )?(Group|Hash|Mixed|)Aggregate$"
_STRATEGIES = {"": "Plain", "Group": "Sorted", "Hash": "Hashed", "Mixed": "Mixed"}


def from_json(properties: pl.DataFrame) -> pl.DataFrame:
    """Columns of nodes from their properties, each a column with json's name; everything still as text."""
    nodes = properties.with_columns(
        pl.coalesce(pl.col(name) for name in names).alias(column) for column, names in _IN_JSON.items()
    )
    custom = pl.concat_str("node_type", pl.lit(" ("), "provider", pl.lit(")"))
    return _finished(nodes.with_columns(pl.coalesce(custom, "node_type").alias("node_type")))


def from_text(nodes: pl.DataFrame) -> pl.DataFrame:
    """Columns of nodes from their line (``text``, without the arrow) and the lines below it, by their first words."""
    said = [
        pl.coalesce(pl.col(name) for name in names).str.extract(pattern).alias(column)
        for column, (names, pattern) in _IN_TEXT.items()
    ]
    nodes = nodes.with_columns(*said, pl.col("text").str.extract_groups(_NODE).alias("line")).unnest("line")
    heads = _heads(nodes["head"].unique(maintain_order=True))
    nodes = nodes.join(heads, on="head", how="left", maintain_order="left", nulls_equal=True)
    subplan = pl.col("subplan_name")
    relationship = (
        pl.when(subplan.str.starts_with("SubPlan"))
        .then(pl.lit("SubPlan"))
        .when(subplan.str.starts_with("InitPlan") | subplan.str.starts_with("CTE "))
        .then(pl.lit("InitPlan"))
    )
    loops = pl.when(pl.col("never").is_not_null()).then(pl.lit("0")).otherwise("actual_loops")
    return _finished(nodes.with_columns(relationship.alias("parent_relationship"), loops.alias("actual_loops")))


def _finished(nodes: pl.DataFrame) -> pl.DataFrame:
    """Columns that are made of several, in the same way for text and json.

    A node that was never executed has no times and rows, which are averages over its loops; json prints zeros.
    """
    loops = pl.col("actual_loops").cast(pl.Int64, strict=False)
    never = (loops == 0).alias("is_never_executed")
    in_memory = pl.when(pl.col("storage") == "Memory").then("storage_kb")
    on_disk = pl.when(pl.col("storage") == "Disk").then("storage_kb")
    return nodes.with_columns(
        never,
        *(pl.when(loops != 0).then(name).alias(name) for name in ("actual_startup_ms", "actual_total_ms")),
        pl.when(loops != 0).then("actual_rows").alias("actual_rows"),
        (pl.col("is_parallel_aware") == "true").alias("is_parallel_aware"),
        (pl.col("is_disabled") == "true").alias("is_disabled"),
        pl.coalesce("peak_memory_kb", in_memory).alias("peak_memory_kb"),
        pl.coalesce("disk_kb", on_disk).alias("disk_kb"),
        *(_summed(f"io_{what}_ms", f"local_io_{what}_ms") for what in ("read", "write")),
    )


def _summed(first: str, second: str) -> pl.Expr:
    values = [pl.col(name).cast(pl.Float64, strict=False) for name in (first, second)]
    total = pl.sum_horizontal(values).round(3)
    return pl.when(pl.any_horizontal([value.is_not_null() for value in values])).then(total).alias(first)


def _heads(heads: pl.Series) -> pl.DataFrame:
    """What a node's line says before its costs, for each distinct ``head``: ``Index Scan using i on s.t a``."""
    rows = heads.to_frame("head").with_columns(pl.col("head").str.extract_groups(_HEAD).alias("read")).unnest("read")
    words = pl.col("words")
    rows = rows.with_columns(
        words.str.extract_groups(_JOIN).alias("join"), words.str.extract_groups(_AGGREGATE).alias("aggregate")
    )
    rows = rows.with_columns(
        pl.col("join").struct[0].alias("join"),
        pl.col("join").struct[1].alias("join_type"),
        pl.col("aggregate").struct[0].alias("partial_mode"),
        pl.col("aggregate").struct[1].alias("aggregate"),
        words.str.extract("^(Hash|)SetOp ").alias("set_op"),
        words.str.extract("^(?:Foreign )?(Insert|Update|Delete|Merge)$").alias("operation"),
        *(_unquoted(name) for name in ("index", "schema_name", "target", "other_name")),
    )
    rows = rows.with_columns(_node_type().alias("node_type"), *_kinds())
    return rows.select("head", "node_type", *(expression.meta.output_name() for expression in _kinds()), *_targets())


def _node_type() -> pl.Expr:
    """The node type that json has for the words of the text."""
    join = pl.col("join")
    return (
        pl.when(join == "Nested Loop")
        .then(join)
        .when(join.is_not_null())
        .then(join + " Join")
        .when(pl.col("aggregate").is_not_null())
        .then(pl.lit("Aggregate"))
        .when(pl.col("set_op").is_not_null())
        .then(pl.lit("SetOp"))
        .when(pl.col("words").str.starts_with("Foreign "))
        .then(pl.lit("Foreign Scan"))
        .when(pl.col("operation").is_not_null())
        .then(pl.lit("ModifyTable"))
        .otherwise("words")
    )


def _kinds() -> list[pl.Expr]:
    """What the text says by other words, or by leaving them out, and json as a property."""
    words, is_set_op = pl.col("words"), pl.col("set_op").is_not_null()
    is_aggregate = pl.col("aggregate").is_not_null()
    is_join = pl.col("join").is_not_null() | (words == "Nested Loop")
    sorted_or_hashed = pl.when(pl.col("set_op") == "").then(pl.lit("Group")).otherwise("set_op")
    strategy = pl.coalesce("aggregate", sorted_or_hashed)
    operation = (
        pl.when(is_set_op)
        .then(words.str.extract("SetOp (.*)$"))
        .when(words == "Foreign Scan")
        .then(pl.lit("Select"))
        .otherwise("operation")
    )
    is_parallel = pl.when(pl.col("parallel").is_not_null()).then(pl.lit("true")).otherwise(pl.lit("false"))
    return [
        operation.alias("operation"),
        strategy.replace_strict(_STRATEGIES, default=None, return_dtype=pl.String).alias("strategy"),
        pl.when(is_join).then(pl.col("join_type").fill_null("Inner")).alias("join_type"),
        pl.when(is_aggregate).then(pl.col("partial_mode").fill_null("Simple")).alias("partial_mode"),
        pl.when(words.is_not_null()).then(is_parallel).alias("is_parallel_aware"),
        pl.col("schema_name"),
    ]


def _targets() -> list[pl.Expr]:
    """What a scan's ``on`` names is a relation, an index, a function, a common table expression, or an alias alone."""
    node_type, target = pl.col("node_type"), pl.col("target")
    is_index = node_type == "Bitmap Index Scan"
    is_function = node_type.is_in(["Function Scan", "Table Function Scan"])
    is_cte = node_type.is_in(["CTE Scan", "WorkTable Scan"])
    is_alias = node_type.is_in(["Values Scan", "Subquery Scan"])
    # the alias is printed where it is another than the name
    alias = pl.when(~is_index).then(pl.coalesce("other_name", "target"))
    return [
        pl.when(~(is_index | is_function | is_cte | is_alias)).then(target).alias("relation_name"),
        pl.when(is_function).then(target).alias("function_name"),
        pl.when(is_cte).then(target).alias("cte_name"),
        pl.when(is_index).then(target).otherwise("index").alias("index_name"),
        alias.alias("alias"),
    ]


def _unquoted(column: str) -> pl.Expr:
    text = pl.col(column)
    inner = text.str.slice(1, text.str.len_chars().cast(pl.Int64) - 2).str.replace_all('""', '"', literal=True)
    return pl.when(text.str.starts_with('"')).then(inner).otherwise(text).alias(column)
