"""Replication, the archiver, and what the WAL is made of."""

from __future__ import annotations

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table

_STEPS, _GAPS, _CONFLICTS, _RELATIONS, _TYPES, _BURSTS, _TRANSACTIONS = 40, 25, 25, 25, 25, 15, 10


def replication_section(lake: LakeHandle, span: Span) -> Section:
    """What streamed with what gaps, conflicts on a standby, failures of the archiver."""
    content = together(
        part("Streams and troubles", _streams(lake, span)),
        part("Recovery against queries on the standby", _conflicts(lake, span)),
        part("Archiving that failed", _archiver(lake, span)),
    )
    nothing = "Nothing was logged about replication, and no file failed to be archived."
    return Section(
        "replication", "Replication and archiver", "Replication", content, nothing, ("replication", "archive")
    )


def _streams(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "replication_timeline")
    if rows.is_empty():
        return None
    # the troubles and the long ones say most; in the order in which they happened
    weight = pl.when(pl.col("what") == "streaming").then(0).when(pl.col("what") == "gap").then(2).otherwise(1)
    chosen = rows.sort([weight, pl.col("seconds").fill_null(0)], descending=True).head(_STEPS).sort("started_at")
    columns = [
        Column("started_at", "From", "time"),
        Column("ended_at", "To", "time"),
        Column("seconds", "Took", "s"),
        Column("what", "What"),
        Column("process", "Process"),
        Column("subject", "Of"),
        Column("slot_name", "Slot"),
        Column("reason", "Why"),
        Column("server", "Server"),
    ]
    return table(chosen, columns, span, "Replication")


def _conflicts(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "recovery_conflicts").head(_CONFLICTS)
    if rows.is_empty():
        return None
    columns = [
        Column("waiting_since", "Since", "time"),
        Column("conflict", "Over"),
        Column("waited_ms", "Recovery waited", "ms"),
        Column("action", "Then"),
        Column("query_text", "Query in the way", "sql"),
        Column("redo_record", "WAL record"),
        Column("application_name", "Application"),
    ]
    return table(rows, columns, span, "Recovery conflicts")


def _archiver(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "archiver_gaps").head(_GAPS)
    if rows.is_empty():
        return None
    columns = [
        Column("started_at", "First failure", "time"),
        Column("last_failed_at", "Last failure", "time"),
        Column("failed_s", "For", "s"),
        Column("failures", "Failures", "count"),
        Column("wal_files", "Files", "count"),
        Column("wal_file", "First file"),
        Column("exit_codes", "Exit codes", "list"),
        Column("server", "Server"),
    ]
    return table(rows, columns, span, "Archiving that failed")


def wal_section(lake: LakeHandle, span: Span) -> Section:
    """By relation, by type of record, by process; bursts; the largest transactions."""
    types = ask(lake, span, "wal_by_record_type")
    content = None
    if types.height:
        content = together(
            part("By relation", _relations(lake, span)),
            part("By type of record", _types(types.head(_TYPES), span)),
            part("By process", _processes(lake, span)),
            part("Bursts", _bursts(lake, span)),
            part("Largest transactions", _transactions(lake, span)),
        )
    nothing = "No WAL was read."
    return Section("wal", "WAL by relation and type", "WAL", content, nothing, ("wal_record",))


def _relations(lake: LakeHandle, span: Span) -> Markup:
    rows = ask(lake, span, "wal_by_relation", top=_RELATIONS)
    file = pl.concat_str("database_oid", pl.lit("/"), "relfilenode")
    named = rows.with_columns(pl.coalesce("relation", file, pl.lit("(no block)")).alias("relation"))
    columns = [
        Column("relation", "Relation", "text", "or database and file number, without a snapshot of pg_class"),
        Column("relation_kind", "Kind"),
        Column("part_of", "Part of"),
        Column("fork", "Fork"),
        Column("total_bytes", "WAL", "size"),
        Column("total_pct", "Of all", "pct"),
        Column("fpi_bytes", "Full page images", "size"),
        Column("records", "Records", "count"),
        Column("pages", "Pages imaged", "count"),
    ]
    return table(named, columns, span, "WAL by relation")


def _types(rows: pl.DataFrame, span: Span) -> Markup:
    columns = [
        Column("resource_manager", "Manager"),
        Column("record_type", "Record"),
        Column("total_bytes", "WAL", "size"),
        Column("total_pct", "Of all", "pct"),
        Column("fpi_bytes", "Full page images", "size"),
        Column("records", "Records", "count"),
        Column("records_pct", "Of all", "pct"),
        Column("server", "Server"),
    ]
    return table(rows, columns, span, "WAL by type of record")


def _processes(lake: LakeHandle, span: Span) -> Markup:
    columns = [
        Column("process", "Process", "text", "not said where several kinds write such records"),
        Column("cause", "Because of"),
        Column("total_bytes", "WAL", "size"),
        Column("total_pct", "Of all", "pct"),
        Column("fpi_bytes", "Full page images", "size"),
        Column("records", "Records", "count"),
        Column("server", "Server"),
    ]
    return table(ask(lake, span, "wal_by_process"), columns, span, "WAL by process")


def _bursts(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "wal_bursts").sort("bytes", descending=True).head(_BURSTS)
    if rows.is_empty():
        return None
    columns = [
        Column("started_at", "From", "time"),
        Column("ended_at", "To", "time"),
        Column("bytes", "WAL", "size"),
        Column("times_usual", "Than usual", "times"),
        Column("fpi_pct", "Full page images", "pct"),
        Column("commits", "Commits", "count"),
        Column("checkpoints", "Checkpoints", "count"),
        Column("vacuums", "Vacuums", "count"),
    ]
    return table(rows, columns, span, "Bursts of WAL")


def _transactions(lake: LakeHandle, span: Span) -> Markup:
    columns = [
        Column("xid", "Transaction", "text"),
        Column("ended_at", "Ended", "time"),
        Column("outcome", "Outcome"),
        Column("total_bytes", "WAL", "size"),
        Column("total_pct", "Of all", "pct"),
        Column("records", "Records", "count"),
        Column("relations", "Files", "count"),
        Column("seconds", "At most", "s", "between its first record and its end"),
    ]
    return table(ask(lake, span, "largest_transactions", top=_TRANSACTIONS), columns, span, "Largest transactions")
