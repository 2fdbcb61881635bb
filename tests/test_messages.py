"""Every wording of a server message reads to its row, and views make one row of several.

A case is a key in ``messages/<table>.toml``: the fields of one record and ``row``, the columns that matter (``false``:
no row), or ``rows`` where one record gives several. ``is_null`` names columns the server said nothing about. Cases in
``messages/views`` hold several records, in order; their ``server`` is "here" where they name none.
"""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pgtrace import registry
from pgtrace.ingest.routing import FAILED, also_of, codes_of
from pgtrace.message import MessageType
from pgtrace.patterns import named_groups
from pgtrace.schema import RECORD, polars_schema
from pgtrace.sqlstate import classes, conditions

FOLDER = Path(__file__).parent / "messages"
TYPES = registry.message_types()
#: filled behind the reading of messages: from the statement's text, and by joining several
FILLED_LATER = {"fingerprint", "execution_source_id", "execution_line_no"}
#: of a case, what is not a field of its record
NOT_IN_RECORD = ("row", "rows", "is_null", "server")
LOGGED_AT = datetime(2026, 11, 24, 6, tzinfo=UTC)


def load(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(folder.glob("*.toml"))}


CASES = load(FOLDER)
VIEW_CASES = load(FOLDER / "views")
ALL = [(table, name) for table, cases in CASES.items() for name in cases]
ALL_OF_VIEWS = [(table, name) for table, cases in VIEW_CASES.items() for name in cases]


def frame(message_type: MessageType, records: list[dict[str, Any]]) -> pl.DataFrame:
    """Records as a log format gives them, in order; a time of day stands for that time on the day of ``LOGGED_AT``."""
    rows = []
    for number, record in enumerate(records, 1):
        fields = {name: value for name, value in record.items() if name not in NOT_IN_RECORD}
        defaults = {"source_id": "a", "line_no": number, "logged_at": LOGGED_AT, "severity": message_type.severities[0]}
        if message_type.program is not None:
            defaults["backend_type"] = message_type.program
        row = {**defaults, **fields}
        assert row.keys() <= RECORD.columns.keys()
        if isinstance(row["logged_at"], time):
            row["logged_at"] = datetime.combine(LOGGED_AT, row["logged_at"], UTC)
        rows.append(row)
    return pl.DataFrame(rows, schema=polars_schema(RECORD.columns))


def read(message_type: MessageType, records: list[dict[str, Any]]) -> pl.DataFrame:
    routed = frame(message_type, records).filter(message_type.routes())
    return message_type.read(routed)


def shown(value: Any) -> Any:
    """A time as the cases write it; DuckDB gives times in the zone of the machine."""
    if not isinstance(value, datetime):
        return value
    utc = value.astimezone(UTC)
    return utc.time() if utc.date() == LOGGED_AT.date() else utc


def differences(found: dict[str, Any], expected: dict[str, Any], is_null: list[str]) -> dict[str, tuple[Any, Any]]:
    wanted = {**expected, **dict.fromkeys(is_null)}
    return {name: (found[name], value) for name, value in wanted.items() if shown(found[name]) != shown(value)}


@pytest.mark.parametrize(("table", "name"), ALL)
def test_every_case_reads_to_its_row(table: str, name: str) -> None:
    case = CASES[table][name]
    rows = read(TYPES[table], [case]).to_dicts()
    expected = expected_rows(case)
    assert len(rows) == len(expected)
    is_null = case.get("is_null", [])
    found = [differences(row, want, is_null) for row, want in zip(rows, expected, strict=True)]
    assert found == [{}] * len(expected)


def expected_rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = case.get("rows", [])
    return rows or ([] if case["row"] is False else [case["row"]])


@pytest.mark.parametrize("table", CASES)
def test_messages_read_together_as_each_alone(table: str) -> None:
    cases = list(CASES[table].values())
    together = read(TYPES[table], cases).drop("line_no")
    alone = pl.concat([read(TYPES[table], [case]) for case in cases]).drop("line_no")
    assert together.equals(alone)


@pytest.mark.parametrize(("table", "name"), ALL_OF_VIEWS)
def test_views_make_one_row_of_several_records(table: str, name: str) -> None:
    case = VIEW_CASES[table][name]
    rows = view_rows(TYPES[table], case["records"])
    expected = case["rows"]
    assert len(rows) == len(expected)
    found = [
        differences(row, {key: value for key, value in want.items() if key != "is_null"}, want.get("is_null", []))
        for row, want in zip(rows, expected, strict=True)
    ]
    assert found == [{}] * len(expected)


def view_rows(message_type: MessageType, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table = message_type.as_table
    assert table.view is not None
    with duckdb.connect() as connection:
        names = {"stored": message_type.table, **{name: name for name in table.view_reads}}
        for name, read_table in names.items():
            connection.register(name, stored_rows(TYPES[read_table], records).to_arrow())
        columns = ", ".join(["server", *table.columns])
        view = table.view.format(**{name: name for name in names})
        found: pl.DataFrame = connection.sql(
            f"select {columns} from ({view}) order by logged_at, server, source_id, line_no"
        ).pl()
    return found.to_dicts()


def stored_rows(message_type: MessageType, records: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows of a type's files: those of each server by themselves, joined where the type joins."""
    parts = []
    for server in dict.fromkeys(record.get("server", "here") for record in records):
        own = [record for record in records if record.get("server", "here") == server]
        rows = read(message_type, own)
        if message_type.join_with is not None:
            failed = frame(message_type, own).filter(pl.col("severity").is_in(FAILED)).select("pid", "line_no")
            joined = message_type.join_with(rows, failed, None)
            rows = joined.rows if joined.open_rows is None else pl.concat([joined.rows, joined.open_rows])
        parts.append(rows.select(pl.lit(server).alias("server"), *message_type.stored_columns))
    return pl.concat(parts)


def test_every_type_has_cases_and_every_view_too() -> None:
    assert CASES.keys() == TYPES.keys()
    assert VIEW_CASES.keys() == {table for table, message_type in TYPES.items() if message_type.view is not None}


@pytest.mark.parametrize("table", TYPES)
def test_every_named_group_is_a_column(table: str) -> None:
    found = TYPES[table]
    groups = named_groups([*found.patterns, *found.detail_patterns, *found.context_patterns])
    assert set(groups) <= found.columns.keys()


@pytest.mark.parametrize("table", CASES)
def test_every_pattern_finds_its_text_in_some_case(table: str) -> None:
    found = TYPES[table]
    records = frame(found, [case for case in CASES[table].values() if expected_rows(case)])
    sources = {"message": found.patterns, "detail": found.detail_patterns, "context": found.context_patterns}
    untried = [
        pattern
        for source, patterns in sources.items()
        for pattern in patterns
        if not records[source].str.contains(pattern).any()
    ]
    assert untried == []


@pytest.mark.parametrize("table", TYPES)
def test_every_type_says_where_its_messages_come_from(table: str) -> None:
    """The docstring of the module names a setting of postgresql.conf or a C file of the server."""
    [module] = [
        module
        for name, module in sys.modules.items()
        if name.startswith("pgtrace.parsers.messages.") and getattr(module, "MESSAGE", None) is TYPES[table]
    ]
    assert re.search(r"\b(log_[a-z_]+|[a-z_]+\.c)\b", module.__doc__ or "")


@pytest.mark.parametrize("table", CASES)
def test_every_column_is_filled_by_some_case(table: str) -> None:
    """A column that no case fills is a pattern that nobody tried; of a boolean, only true counts.

    Columns that are copied from the record need no case.
    """
    rows = read(TYPES[table], list(CASES[table].values())).to_dicts()
    filled = {name for row in rows for name, value in row.items() if value is not None and value is not False}
    assert TYPES[table].columns.keys() - filled - RECORD.columns.keys() - FILLED_LATER == set()


def test_no_message_is_claimed_by_two_types() -> None:
    literals: dict[tuple[str, str], list[str]] = {}
    for table, message_type in TYPES.items():
        for severity in message_type.severities:
            for literal in message_type.starts_with:
                literals.setdefault((severity, literal), []).append(table)
    assert {literal: tables for literal, tables in literals.items() if len(tables) > 1} == {}


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, name in ALL if expected_rows(CASES[table][name])])
def test_every_case_is_routed_to_its_type(table: str, name: str) -> None:
    case = CASES[table][name]
    message_type = TYPES[table]
    records = frame(message_type, [case])
    if message_type.within is not None or not message_type.starts_with:
        assert records.filter(message_type.routes()).height == 1
    else:
        codes = codes_of(records)
        assert list(TYPES).index(table) in (codes[0], *also_of(records, codes))


def test_records_that_no_literal_gives_to_a_type_go_to_those_that_ask_for_them() -> None:
    cases = CASES["replication"]
    records = frame(TYPES["replication"], [cases["apply_error_15"], cases["connection_terminated"]])
    codes = codes_of(records)
    found = {list(TYPES)[code]: fits.to_list() for code, fits in also_of(records, codes).items()}
    assert found == {"connection": [False, True], "replication": [True, False]}


def test_every_sqlstate_has_one_condition_and_its_class_one_name() -> None:
    lines = (Path(registry.__file__).parent / "sqlstates.tsv").read_text().splitlines()
    codes = [line.split("\t")[0] for line in lines if not line.startswith("#")]
    assert sorted(codes) == codes
    assert len(set(codes)) == len(codes) == len(conditions())
    assert {len(code) for code in codes} == {5}
    assert classes().keys() == {code[:2] for code in codes}
