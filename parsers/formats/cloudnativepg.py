"""What a CloudNativePG pod prints: JSON lines of its instance manager, which wraps the server's csvlog.

A record is an object with ``"msg":"record"``; its ``record`` has the fields of the csvlog as texts, without those that
are empty. Records of pgAudit (``"logger":"pgaudit"``) have their fields in ``audit`` in place of a message, which is
put together again here. Source: pkg/management/logpipe/ of CloudNativePG (``LoggingRecord``, ``PgAuditRecord``).

Limitations: what the server writes before its logging collector runs comes as text inside other lines, which are kept
as unparsed like all that the instance manager says itself.
"""

from __future__ import annotations

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.jsonlines import NO_OBJECT, first_lines, objects, sample
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import as_records, client_columns, is_readable, nothing_unparsed, unparsed_lines, with_times

#: fields of a record, and the columns they fill
_FIELDS = {
    "log_time": "time",
    "user_name": "user_name",
    "database_name": "database_name",
    "process_id": "pid",
    "connection_from": "connection",
    "session_id": "session_id",
    "session_line_num": "session_line_no",
    "command_tag": "command_tag",
    "session_start_time": "session_time",
    "virtual_transaction_id": "vxid",
    "transaction_id": "xid",
    "error_severity": "severity",
    "sql_state_code": "sqlstate",
    "message": "message",
    "detail": "detail",
    "hint": "hint",
    "internal_query": "internal_query",
    "internal_query_pos": "internal_position",
    "context": "context",
    "query": "statement",
    "query_pos": "cursor_position",
    "location": "location",
    "application_name": "application_name",
    "backend_type": "backend_type",
    "leader_pid": "leader_pid",
    "query_id": "query_id",
}
_NUMBERS = ("pid", "session_line_no", "xid", "internal_position", "cursor_position", "leader_pid", "query_id")
#: in pgAudit's order
_AUDIT = (
    "audit_type", "statement_id", "substatement_id", "class", "command", "object_type", "object_name", "statement",
    "parameter",
)  # fmt: skip
_TEXTS = dict.fromkeys(_FIELDS, pl.String)
_SCHEMA = {
    "logger": pl.String,
    "msg": pl.String,
    "record": pl.Struct({**_TEXTS, "audit": pl.Struct(dict.fromkeys(_AUDIT, pl.String))}),
}
_OF_MANAGER = "CloudNativePG's instance manager says this"
_UNREADABLE = "record of CloudNativePG that is damaged"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Objects with "logger" and a "record" that has a "log_time". Raises TimeZoneError."""
    found = [entry["record"] for entry in sample(head, "logger", "record")]
    is_long = b'"msg":"record"' in head and b'"record":{"log_time":"' in head
    if not is_long and not any(isinstance(record, dict) and "log_time" in record for record in found):
        return None
    reading = Reading("cloudnativepg", timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins: a record is a line."""
    return buffer.rfind(b"\n", 0, max(len(buffer) - 1, 0)) + 1


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole lines; those that are no record are unparsed. Raises TimeZoneError."""
    found = objects(clean_utf8(chunk), _SCHEMA, first_line)
    fields = found.unnest("record").rename(_FIELDS)
    fields = fields.with_columns(
        pl.coalesce("message", _audit_message(fields)).alias("message"),
        pl.lit(1, pl.Int64).alias("line_count"),
        *(pl.col(name).cast(pl.Int64, strict=False) for name in _NUMBERS),
    )
    fields = with_times(fields, reading.timezone)
    is_record = is_readable(fields)
    own = fields.filter(is_record)
    records = as_records(pl.concat([own, client_columns(own["connection"])], how="horizontal"))
    if is_record.all():
        return nothing_unparsed(records)
    reason = (
        pl.when(~pl.col("is_object"))
        .then(pl.lit(NO_OBJECT))
        .when(pl.col("severity").is_not_null() | (pl.col("msg") == "record"))
        .then(pl.lit(_UNREADABLE))
        .otherwise(pl.lit(_OF_MANAGER))
    )
    left = fields.filter(~is_record).select("line_no", pl.col("line").alias("text"), reason.alias("reason"))
    return Parsed(records, unparsed_lines(left, records))


def _audit_message(fields: pl.DataFrame) -> pl.Expr:
    """The message as pgAudit logs it: ``AUDIT: SESSION,1,1,READ,SELECT,,,select 1,<not logged>``."""
    parts = []
    for name in _AUDIT:
        part = pl.col("audit").struct.field(name).fill_null("")
        quoted = pl.format('"{}"', part.str.replace_all('"', '""', literal=True))
        parts.append(pl.when(part.str.contains(r'[",\r\n]')).then(quoted).otherwise(part))
    is_audit = pl.col("audit").struct.field("audit_type").is_not_null()
    return pl.when(is_audit).then(pl.lit("AUDIT: ") + pl.concat_str(parts, separator=","))


FORMAT = LogFormat(name="cloudnativepg", rank=4, sniff=sniff, last_record=last_record, read=read)
