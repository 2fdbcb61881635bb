"""The named queries: each one's cases in tests/queries/NAME.toml, and what holds for all of them.

A case gives rows of tables, parameters, and the rows to expect, each with the columns that matter; ``"<null>"`` stands
for null, which TOML has not. ``every.TABLE`` holds values that every given row of that table shares.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import pgtrace
from pgtrace import docs
from pgtrace.api import LakeHandle, described_tables
from pgtrace.errors import PgtraceError, UsageError
from pgtrace.lake.catalog import MACROS
from pgtrace.query import find, queries, read_query, run
from pgtrace.schema import SERVER, polars_schema
from pgtrace.views import VIEW_TABLES, VIEWS

HERE = Path(__file__).parent
CASES = HERE / "queries"
NAMES = sorted(queries())


def cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        every = content.pop("every", {})
        for title, case in content.items():
            yield pytest.param(path.stem, every, case, id=f"{path.stem}-{title}")


@cache
def _definitions() -> str:
    """Every table, empty, and the views over them."""
    statements = ["set TimeZone = 'UTC'", *MACROS]
    for name, table in described_tables().items():
        if name not in VIEW_TABLES:
            columns = ", ".join(f'"{key}" {column.duckdb_type}' for key, column in {**SERVER, **table.columns}.items())
            statements.append(f'create table "{name}" ({columns})')
    statements += [f'create view "{name}" as {body}' for name, body in VIEWS.items()]
    return ";\n".join(statements)


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(_definitions())
        yield connection


@pytest.mark.parametrize(("name", "every", "case"), list(cases()))
def test_case(name: str, every: dict[str, Any], case: dict[str, Any], database: duckdb.DuckDBPyConnection) -> None:
    for table, rows in case["given"].items():
        columns = {**SERVER, **described_tables()[table].columns}
        given = [_nulls({**every.get(table, {}), **row}) for row in rows]
        assert {key for row in given for key in row} <= set(columns), f"{table} has no such column"
        origins = [{"server": "a", "source_id": "s", "line_no": number} for number in range(1, len(given) + 1)]
        whole = [
            {**{key: value for key, value in origin.items() if key in columns}, **row}
            for origin, row in zip(origins, given, strict=True)
        ]
        frame = pl.DataFrame(whole, schema=polars_schema(columns))
        database.register("given", frame)
        database.execute(f'insert into "{table}" by name select * from given')
        database.unregister("given")

    found = run(database, name, case.get("parameters", {})).pl().to_dicts()

    wanted = [_nulls(row) for row in case["expect"]]
    assert {key for row in wanted for key in row} <= set(find(name).columns)
    shown = [{key: row[key] for key in want} for row, want in zip(found, wanted, strict=False)]
    assert shown == [_close(row) for row in wanted]
    assert len(found) == len(wanted), found[len(wanted) :]


def _nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == "<null>" else value for key, value in row.items()}


def _close(row: dict[str, Any]) -> dict[str, Any]:
    return {key: pytest.approx(value) if isinstance(value, float) else value for key, value in row.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_query_has_cases(name: str) -> None:
    assert (CASES / f"{name}.toml").is_file(), f"write tests/queries/{name}.toml"


def test_cases_are_of_queries_that_exist() -> None:
    assert {path.stem for path in CASES.iterdir()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_is_what_the_query_returns(name: str, sample_lake: LakeHandle) -> None:
    result = sample_lake.query(name)
    found = dict(zip(result.columns, (str(type_) for type_ in result.types), strict=True))
    assert found == {key: column.type for key, column in find(name).columns.items()}
    assert list(found) == list(find(name).columns)


@pytest.fixture(scope="module")
def same_lakes(sample_lake: LakeHandle, tmp_path_factory: pytest.TempPathFactory) -> list[LakeHandle]:
    """The sample logs read by one, two and four threads, the last from files with their rows in another order."""
    mixed = tmp_path_factory.mktemp("mixed") / "lake"
    shutil.copytree(sample_lake.path, mixed)
    for file in mixed.glob("tables/*/server=*/*/*.parquet"):
        rows = pl.read_parquet(file, hive_partitioning=False)
        rows.sample(fraction=1, shuffle=True, seed=1).write_parquet(file, row_group_size=2048)
    lakes = [pgtrace.open(path) for path in (sample_lake.path, sample_lake.path, mixed)]
    for lake, threads in zip(lakes, (1, 2, 4), strict=True):
        lake.connection.execute(f"set threads = {threads}")
    return lakes


@pytest.mark.parametrize("name", NAMES)
def test_a_real_log_has_answers_and_the_same_ones_each_time(name: str, same_lakes: list[LakeHandle]) -> None:
    rows = same_lakes[0].query(name).pl()
    assert rows.height > 0 or name == "unparsed_lines"
    for lake in same_lakes[1:]:
        assert_frame_equal(rows, lake.query(name).pl(), check_exact=True)  # to the last digit


@pytest.mark.parametrize("name", sorted(described_tables()))
def test_a_table_has_the_same_rows_each_time(name: str, same_lakes: list[LakeHandle]) -> None:
    rows, *others = (lake.sql(f'select * from "{name}" order by all').pl() for lake in same_lakes)
    for other in others:
        assert_frame_equal(rows, other, check_exact=True)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_lake_answers_with_no_rows(name: str, lake: LakeHandle) -> None:
    assert lake.query(name).pl().height == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_header_names_the_tables_that_are_read(name: str) -> None:
    query = find(name)
    steps = set(re.findall(r"^(\w+) as \($", query.sql, re.MULTILINE))
    read = set(re.findall(r"^ *(?:from|(?:\w+ )*join) (\w+)", query.sql, re.MULTILINE)) - steps
    assert set(query.reads) == read
    assert read <= set(described_tables())


@pytest.mark.parametrize("name", NAMES)
def test_the_header_lists_exactly_the_parameters(name: str, database: duckdb.DuckDBPyConnection) -> None:
    query = find(name)
    statement = database.extract_statements(query.sql)[0]
    assert set(query.parameters) == statement.named_parameters


@pytest.mark.parametrize("name", NAMES)
def test_a_query_can_be_bounded_by_server_and_time(name: str) -> None:
    parameters = find(name).parameters
    assert parameters["server"].type == "VARCHAR"
    if name != "read_summary":  # a file has no one time
        assert parameters["since"].type == parameters["until"].type == "TIMESTAMP WITH TIME ZONE"


@pytest.mark.parametrize("name", NAMES)
def test_another_server_and_another_century_have_no_rows(name: str, sample_lake: LakeHandle) -> None:
    assert sample_lake.query(name, server="nobody").pl().height == 0
    if "since" in find(name).parameters:
        assert sample_lake.query(name, since="2126-01-01").pl().height == 0
        assert sample_lake.query(name, until="1996-01-01").pl().height == 0


def test_the_page_of_queries_is_up_to_date() -> None:
    page = (HERE.parent / "docs" / "queries.md").read_text(encoding="utf-8")
    assert page == docs.queries_page(), "run python -m pgtrace.docs"


def test_a_real_log_says_who_held_the_lock(sample_lake: LakeHandle) -> None:
    """A migration waited for a transaction that had locked the table, and later for autovacuum."""
    waits = sample_lake.query("lock_waits", server="pg15-mixed").pl()
    migration = waits.filter(pl.col("waiter_application") == "migrate 2.1").sort("waiting_since")
    columns = ("outcome", "holder_process", "holder_application", "holder_query", "holder_basis")
    assert migration.select(columns).rows() == [
        ("acquired", "client backend", "holder", "LOCK TABLE app.order_items IN SHARE MODE", "logged before"),
        ("acquired", "autovacuum worker", None, None, None),
    ]


def test_an_unknown_query_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no query 'slow_querys': did you mean slow_queries"):
        find("slow_querys")


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"tops": 3}, "slow_queries has no parameter 'tops': did you mean top"),
        ({"xyz": 3}, "no parameter 'xyz': it has since, until, server, top"),
        ({"top": "many"}, "top = 'many' is not a BIGINT"),
        ({"top": "9223372036854775808"}, "is not a BIGINT"),
        ({"since": "last week"}, "slow_queries: since: 'last week' is not a time"),
    ],
)
def test_what_does_not_fit_a_parameter_is_refused(
    parameters: dict[str, object], complaint: str, database: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(UsageError, match=complaint):
        run(database, "slow_queries", parameters)


def test_text_is_read_as_the_type_of_the_parameter(database: duckdb.DuckDBPyConnection) -> None:
    parameters = {"since": "-1d", "until": "now", "top": "5", "min_ms": "0.5", "raw": "yes", "server": "a"}
    assert run(database, "slow_statements", parameters).pl().height == 0


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("select 1", "x.sql, line 1: the header begins with a question"),
        ("-- All rows", "x.sql, line 1: the header begins with a question"),
        ("-- How many?\n-- Columns:\n--   n  BIGINT", "x.sql, line 3: 'n  BIGINT' should have 3 fields"),
        ("-- How many?\n-- Parameters:\n--   $n  BIGINT  1", "x.sql, line 3: .* should have 4 fields"),
        ("-- How many?\n-- Parameters:\n--   n  BIGINT  1  rows", "x.sql, line 3: a parameter is \\$name"),
        ("-- How many?\n-- Parameters:\n--   $n  INT  1  rows", "x.sql, line 3: .* not \\$n INT"),
    ],
)
def test_a_header_that_cannot_be_read_is_named_with_its_line(header: str, complaint: str) -> None:
    with pytest.raises(PgtraceError, match=complaint):
        read_query("x.sql", header + "\nselect 1")


def test_views_have_the_columns_they_are_described_with(database: duckdb.DuckDBPyConnection) -> None:
    for name, table in VIEW_TABLES.items():
        view = database.sql(f'select * from "{name}"')
        described = {key: column.duckdb_type for key, column in {**SERVER, **table.columns}.items()}
        assert dict(zip(view.columns, (str(type_) for type_ in view.types), strict=True)) == described
