"""The same run logged as stderr, csvlog and jsonlog gives the same tables, but for what a format cannot carry."""

from __future__ import annotations

import polars as pl
import pytest
from conftest import SAMPLES

import pgtrace
from pgtrace import registry
from pgtrace.api import LakeHandle

#: runs of which all three files are among the samples
RUNS = ("pg15-mixed", "pg15-durstmt", "pg18-autoexplain")
FILES = {"stderr": "postgresql.log", "csvlog": "postgresql.csv", "jsonlog": "postgresql.json"}
#: where a row is from differs by nature
ORIGIN = {"server", "source_id", "line_no", "line_count", "execution_source_id", "execution_line_no"}
#: what stderr says only where its log_line_prefix asks for it; docs/formats.md has the same list
NEVER_IN_PREFIX = {
    "client_host",
    "client_port",
    "query_id",
    "backend_type",
    "sqlstate",
    "condition",
    "condition_class",
}
NOT_IN_PREFIX = {
    "pg15-mixed": NEVER_IN_PREFIX | {"session_id"},
    # a parallel worker has no client, so %q ends its prefix before %a
    "pg18-autoexplain": NEVER_IN_PREFIX | {"session_id", "application_name"},
    "pg15-durstmt": NEVER_IN_PREFIX | {"user_name", "database_name", "application_name"},
}
#: columns of table record that csvlog and jsonlog carry and these prefixes do not
RECORD_ONLY = {"session_line_no", "session_started_at", "command_tag", "vxid", "xid", "leader_pid"}

Views = tuple[str, LakeHandle]


@pytest.fixture(scope="module", params=RUNS)
def views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Views:
    lake = pgtrace.open(tmp_path_factory.mktemp("views") / "lake")
    for log_format, name in FILES.items():
        lake.ingest([SAMPLES / request.param / name], server=log_format)
    return request.param, lake


def rows(lake: LakeHandle, table: str, server: str, without: set[str]) -> pl.DataFrame:
    frame = lake.sql(f"""select * from "{table}" where server = '{server}'""").pl()
    frame = frame.select(name for name in frame.columns if name not in ORIGIN | without)
    order = [name for name, dtype in frame.schema.items() if dtype != pl.List(pl.String) and dtype != pl.List(pl.Int64)]
    ordered: pl.DataFrame = frame.sort(order, nulls_last=True)
    return ordered


TYPED = sorted(set(registry.tables()) - {"record", "unparsed", "query"})


@pytest.mark.parametrize("table", [*TYPED, "record"])
def test_csvlog_and_jsonlog_give_the_same_rows(views: Views, table: str) -> None:
    _, lake = views
    assert rows(lake, table, "csvlog", set()).equals(rows(lake, table, "jsonlog", set()))


@pytest.mark.parametrize("table", [*TYPED, "record"])
def test_stderr_gives_the_same_rows_but_for_what_its_prefix_leaves_out(views: Views, table: str) -> None:
    run, lake = views
    without = NOT_IN_PREFIX[run] | (RECORD_ONLY if table == "record" else set())
    found, expected = rows(lake, table, "stderr", without), rows(lake, table, "csvlog", without)
    assert found.height == expected.height
    different = [name for name in found.columns if not found[name].equals(expected[name])]
    assert different == []


def test_stderr_finds_the_same_shapes_of_queries(views: Views) -> None:
    _, lake = views
    shapes = {
        server: set(lake.sql(f"select fingerprint from statement where server = '{server}'").fetchall())
        for server in FILES
    }
    assert shapes["stderr"] == shapes["csvlog"] == shapes["jsonlog"]
