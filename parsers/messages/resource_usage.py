"""What a statement or one stage of it cost (log_statement_stats, log_parser_stats, log_planner_stats,
log_executor_stats; ShowUsage in postgres.c).

The numbers are getrusage's; which of its lines the server prints depends on the platform.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import Column

if TYPE_CHECKING:
    import polars as pl

_STAGES = (
    "QUERY",
    "PARSE MESSAGE",
    "BIND MESSAGE",
    "EXECUTE MESSAGE",
    "PARSER",
    "PARSE ANALYSIS",
    "REWRITER",
    "PLANNER",
    "EXECUTOR",
    "BTREE BUILD (Spool)",  # log_btree_build_stats, where it was compiled in
    "BTREE BUILD",
)


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    return {
        "stage": pl.col("stage").str.to_lowercase(),
        "started_at": pl.col("logged_at") - pl.duration(microseconds=pl.col("elapsed_s") * 1_000_000),
    }


MESSAGE = MessageType(
    table="resource_usage",
    one_row_per="stage of a statement whose cost was logged",
    process="backend",
    starts_with=tuple(f"{stage} STATISTICS" for stage in _STAGES),
    patterns=(r"^(?P<stage>[A-Z ]+(?: \(Spool\))?) STATISTICS$",),
    detail_patterns=(
        r"!\s+(?P<cpu_user_s>[\d.]+) s user, (?P<cpu_system_s>[\d.]+) s system, (?P<elapsed_s>[\d.]+) s elapsed",
        r"!\s+\[(?P<total_cpu_user_s>[\d.]+) s user, (?P<total_cpu_system_s>[\d.]+) s system total\]",
        r"!\s+(?P<max_resident_kb>\d+) kB max resident size",
        r"!\s+(?P<blocks_in>\d+)/(?P<blocks_out>\d+) \[(?P<total_blocks_in>\d+)/(?P<total_blocks_out>\d+)\] filesystem blocks in/out",  # noqa: E501
        r"!\s+(?P<page_faults>\d+)/(?P<page_reclaims>\d+) \[(?P<total_page_faults>\d+)/(?P<total_page_reclaims>\d+)\] page faults/reclaims",  # noqa: E501
        r"(?P<swaps>\d+) \[(?P<total_swaps>\d+)\] swaps",
        r"!\s+(?P<signals>\d+) \[(?P<total_signals>\d+)\] signals rcvd",
        r"(?P<messages_received>\d+)/(?P<messages_sent>\d+) \[(?P<total_messages_received>\d+)/(?P<total_messages_sent>\d+)\] messages rcvd/sent",  # noqa: E501
        r"!\s+(?P<voluntary_switches>\d+)/(?P<involuntary_switches>\d+) \[(?P<total_voluntary_switches>\d+)/(?P<total_involuntary_switches>\d+)\] voluntary/involuntary context switches",  # noqa: E501
    ),
    columns={
        "query_id": Column("query identifier (compute_query_id), 0 is none", int),
        "stage": Column(
            "query: the whole statement; parser, parse analysis, rewriter, planner, executor: its stages; "
            "parse message, bind message, execute message: a message of the extended protocol"
        ),
        "started_at": Column("when it began: logged_at less elapsed_s", datetime),
        "elapsed_s": Column("how long it took", float, "s"),
        "cpu_user_s": Column("CPU, user", float, "s"),
        "cpu_system_s": Column("CPU, system", float, "s"),
        "blocks_in": Column("blocks of 512 bytes read from disk", int),
        "blocks_out": Column("blocks of 512 bytes written", int),
        "page_faults": Column("page faults that needed a read from disk", int),
        "page_reclaims": Column("page faults that did not", int),
        "swaps": Column("times swapped out", int),
        "signals": Column("signals received", int),
        "messages_received": Column("IPC messages received", int),
        "messages_sent": Column("IPC messages sent", int),
        "voluntary_switches": Column("context switches because the process waited", int),
        "involuntary_switches": Column("context switches because its time was up", int),
        "max_resident_kb": Column("most memory that the process has had so far", int, "kB"),
        "total_cpu_user_s": Column("CPU, user, of the process so far", float, "s"),
        "total_cpu_system_s": Column("CPU, system, of the process so far", float, "s"),
        "total_blocks_in": Column("blocks read by the process so far", int),
        "total_blocks_out": Column("blocks written by the process so far", int),
        "total_page_faults": Column("page faults with a read of the process so far", int),
        "total_page_reclaims": Column("page faults without one of the process so far", int),
        "total_swaps": Column("times the process was swapped out so far", int),
        "total_signals": Column("signals the process received so far", int),
        "total_messages_received": Column("IPC messages the process received so far", int),
        "total_messages_sent": Column("IPC messages the process sent so far", int),
        "total_voluntary_switches": Column("voluntary context switches of the process so far", int),
        "total_involuntary_switches": Column("involuntary context switches of the process so far", int),
        "statement": Column("the SQL, as logged"),
        "fingerprint": Column("shape of that SQL (see table query)"),
    },
    derive=_derive,
)
