"""Views and macros over a lake, for DuckDB: in memory for ourselves, in ``pgtrace.duckdb`` for any other client."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from pgtrace.lake.layout import Layout
from pgtrace.schema import SERVER, Column, Table

SOURCE = Table(
    name="source",
    one_row_per="file that was read",
    columns={
        "source_id": Column("identity: hash of the server's name and how the text begins"),
        "path": Column("where it was last seen"),
        "log_format": Column("stderr, csvlog, jsonlog or unknown"),
        "prefix": Column("log_line_prefix, given or detected (stderr)"),
        "timezone": Column("zone given for the abbreviations in its times"),
        "size_bytes": Column("size on disk", int, "bytes"),
        "read_bytes": Column("bytes read, decompressed", int, "bytes"),
        "lines": Column("lines read", int),
        "records": Column("records read", int),
        "unparsed": Column("lines that belong to no record", int),
        "held_back_lines": Column("lines of a last record that had no end yet", int),
        "held_back_bytes": Column("bytes of it", int, "bytes"),
        "first_at": Column("first time in it", datetime),
        "last_at": Column("last time in it", datetime),
        "ingested_at": Column("when it was last read", datetime),
    },
)

MACROS = (
    "create or replace macro lsn_text(lsn) as format('{:X}/{:X}', lsn >> 32, lsn & 4294967295)",
    "create or replace macro lsn_parse(text) as ('0x' || split_part(text, '/', 1))::ubigint * 4294967296"
    " + ('0x' || split_part(text, '/', 2))::ubigint",
)
_SERVER_IN_PATH = "url_decode(nullif(regexp_extract(filename, '/server=([^/]*)/[^/]*/[^/]*$', 1), ''))"


def definitions(layout: Layout, tables: Mapping[str, Table], views: Mapping[str, str]) -> list[str]:
    """The SQL statements that make every table of the lake a view, in an order in which they can be run."""
    # a view over files has no row count to plan with: DuckDB takes it for one row, and compares every pair of rows
    # and stdout is for results: no bar on it in queries that take long
    settings = ["set TimeZone = 'UTC'", "set asof_loop_join_threshold = 0", "set enable_progress_bar = false"]
    statements = [*settings, "create schema if not exists stored", *MACROS]
    inner = {
        table.name: f"stored.{_name(table.name)}" if table.view is not None else _name(table.name)
        for table in tables.values()
    }
    statements += [
        f"create or replace view {inner[table.name]} as {_stored(layout, table)}" for table in tables.values()
    ]
    for table in tables.values():
        if table.view is not None:
            body = table.view.replace("{stored}", inner[table.name])
            for name in table.view_reads:
                body = body.replace(f"{{{name}}}", inner[name])
            columns = _quoted([*SERVER, *table.columns])
            statements.append(f"create or replace view {_name(table.name)} as select {columns} from ({body})")
    source = layout.tables / "source" / "source.parquet"
    columns = _quoted([*SERVER, *SOURCE.columns])
    statements.append(
        f"create or replace view source as select {columns} from read_parquet({_literal(source.as_posix())})"
    )
    statements += [f"create or replace view {_name(name)} as {body}" for name, body in views.items()]
    return statements


def _stored(layout: Layout, table: Table) -> str:
    """The rows of a table's files; columns are found by name, and one that older files lack is null in them."""
    fields = ", ".join(
        f"{_literal(name)}: {{'name': {_literal(name)}, 'type': {_literal(column.duckdb_type)}, 'default_value': null}}"
        for name, column in table.stored_columns.items()
    )
    return (
        f"select {_SERVER_IN_PATH} as server, {_quoted(table.stored_columns)} "
        f"from read_parquet({_literal(layout.glob(table.name))}, hive_partitioning = false, filename = true, "
        # without filename = true DuckDB 2.0 fails on `where server = … order by … limit` (late materialization)
        f"schema = map {{{fields}}})"
    )


def connect(statements: list[str]) -> duckdb.DuckDBPyConnection:
    """A connection in memory over the lake; it locks nothing, so a writer is never in its way."""
    connection = duckdb.connect()
    for statement in statements:
        connection.execute(statement)
    return connection


def refresh(layout: Layout, statements: list[str]) -> bool:
    """Write ``pgtrace.duckdb`` where it is missing or its definitions changed; whether it was written.

    The new file takes the old one's name, so a client that has the old one open goes on undisturbed.
    """
    text = ";\n".join(statements) + ";\n"
    written = layout.root / "catalog.sql"
    if layout.catalog.exists() and written.exists() and written.read_text() == text:
        return False
    partial = layout.root / f".pgtrace-{os.getpid()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.duckdb"
    _forget(partial)
    with duckdb.connect(partial) as connection:
        for statement in statements:
            connection.execute(statement)
    _forget(layout.catalog, only_log=True)  # changes that a client made to the old catalog do not fit the new one
    partial.replace(layout.catalog)
    partial_text = written.with_suffix(f".{os.getpid()}.partial")
    partial_text.write_text(text)
    partial_text.replace(written)
    return True


def _forget(path: Path, only_log: bool = False) -> None:
    """Remove a DuckDB file and the write-ahead log beside it."""
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    if not only_log:
        path.unlink(missing_ok=True)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(names: Mapping[str, Column] | list[str]) -> str:
    return ", ".join(_name(name) for name in names)
