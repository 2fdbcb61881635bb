"""Memory contexts of a process (pg_log_backend_memory_contexts; MemoryContextStats in mcxt.c).

From version 14 a process logs them when asked to, one message each. Out of memory it writes them to stderr without
prefix before its error, so only the stderr format has those (column ``memory_contexts`` of the record); that error's
row in table ``error`` has the same source_id and line_no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import Column

if TYPE_CHECKING:
    import polars as pl

_OUT_OF_MEMORY = "out of memory"
_LINE = (
    r"^(?:level: (?P<level>\d+); |(?P<indentation> *))"
    r"(?:(?P<child_contexts>\d+) more child contexts containing|(?P<grand_total>Grand total):|(?P<name>.+?):)"
    r" (?P<total_bytes>\d+) (?:total|bytes) in (?P<blocks>\d+) blocks"
    r"(?: \((?P<chunks>\d+) chunks\))?"  # of a generation context
    r"(?:; (?P<empty_blocks>\d+) empty blocks)?"  # of a slab context, from 16
    # a bump context (17) does not count its free chunks
    r"; (?P<free_bytes>\d+) free(?: \((?P<free_chunks>\d+) chunks\))?; (?P<used_bytes>\d+) used"
    r"(?:: (?P<ident>(?s:.*)))?$"
)
_ASKED = r"^logging memory contexts of PID (\d+)$"
_REQUEST = r'^Failed on request of size (?P<requested_bytes>\d+) in memory context "(?P<requested_in>.*)"\.$'
_CREATION = r'^Failed while creating memory context "(.*)"\.$'
_INTEGERS = ("level", "child_contexts", "total_bytes", "blocks", "chunks", "empty_blocks", "free_bytes", "free_chunks")


def read(records: pl.DataFrame) -> pl.DataFrame:
    """A row per context: of one message, or of every line that a process wrote before its error."""
    import polars as pl

    is_error = pl.col("message").str.starts_with(_OUT_OF_MEMORY)
    lines = pl.when(is_error).then(pl.col("memory_contexts").str.split("\n"))
    rows = records.with_columns(lines.alias("text")).filter(~is_error | pl.col("text").is_not_null())
    rows = rows.with_columns(
        pl.when(is_error)
        .then(pl.int_ranges(1, pl.col("text").list.len() + 1))
        .otherwise(pl.concat_list(pl.lit(None, pl.Int64)))
        .alias("line_of_dump"),
        pl.when(is_error).then("text").otherwise(pl.concat_list("message")).alias("text"),
        pl.when(is_error).then(pl.lit("out of memory")).otherwise(pl.lit("asked")).alias("cause"),
    )
    return _with_figures(rows.explode("text", "line_of_dump"))


def _with_figures(rows: pl.DataFrame) -> pl.DataFrame:
    """The figures of every line in ``text``; lines that hold none are left out."""
    import polars as pl

    request = pl.col("detail").str.extract_groups(_REQUEST.replace(r"\d", "[0-9]"))
    rows = rows.with_columns(
        pl.col("text").str.extract_groups(_LINE.replace(r"\d", "[0-9]")).alias("found"),
        pl.col("text").str.extract(_ASKED.replace(r"\d", "[0-9]"), 1).cast(pl.Int64).alias("target_pid"),
        request.struct.field("requested_bytes").cast(pl.Int64),
        pl.coalesce(request.struct.field("requested_in"), pl.col("detail").str.extract(_CREATION, 1)).alias(
            "requested_in"
        ),
    ).unnest("found")
    rows = rows.filter(pl.col("total_bytes").is_not_null() | pl.col("target_pid").is_not_null())
    # two blanks for each level; what is left out stands one deeper than the context whose children these are
    depth = pl.col("indentation").str.len_bytes() // 2 - pl.col("child_contexts").is_not_null().cast(pl.Int64)
    is_context = (pl.col("cause") == "out of memory") & pl.col("grand_total").is_null()
    return rows.with_columns(pl.col(name).cast(pl.Int64) for name in (*_INTEGERS, "used_bytes")).with_columns(
        pl.coalesce("level", pl.when(is_context).then(depth)).alias("level"),
        pl.col("grand_total").is_not_null().alias("is_grand_total"),
    )


MESSAGE = MessageType(
    table="memory_context",
    one_row_per="memory context of a process, or sum of several",
    process="any",
    starts_with=("logging memory contexts of PID ", "level: ", "Grand total: ", _OUT_OF_MEMORY),
    severities=("LOG", "ERROR", "FATAL"),
    columns={
        "cause": Column("asked: by pg_log_backend_memory_contexts; out of memory: before an error"),
        "target_pid": Column("only on the message that a process begins with when it is asked: itself", int),
        "line_of_dump": Column("place among the lines before the error, from 1; null where it was asked", int),
        "level": Column(
            "depth of the context as printed: the top one is 0, when asked from version 18 on 1; "
            "of child contexts left out that of their parent",
            int,
        ),
        "name": Column("name of the context; null on sums"),
        "ident": Column("which of several of that name: an index, a statement"),
        "child_contexts": Column("number of child contexts left out, whose sum this is", int),
        "is_grand_total": Column("whether this is the sum of all", bool),
        "total_bytes": Column("memory taken from the system", int, "bytes"),
        "blocks": Column("blocks it is in", int),
        "chunks": Column("chunks, of a generation context", int),
        "empty_blocks": Column("empty blocks, of a slab context from version 16", int),
        "free_bytes": Column("of that free", int, "bytes"),
        "free_chunks": Column("free chunks; a bump context (from version 17) does not say", int),
        "used_bytes": Column("of that in use", int, "bytes"),
        "requested_bytes": Column("size of the request that failed, on every row of its error", int, "bytes"),
        "requested_in": Column("context that the request was made in, or that could not be made"),
    },
    read_with=read,
)
