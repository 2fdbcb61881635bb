"""Snapshots of relations and settings: CSV that the commands in docs/snapshots.md make."""

from __future__ import annotations

import io
import re
import shutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_live_server import BIN, Server, running_server

from pgtrace import registry
from pgtrace.api import LakeHandle
from pgtrace.ingest.chunks import chunks
from pgtrace.logformat import Parsed, Reading
from pgtrace.units import lsn_parse

HERE = Path(__file__).parent / "data" / "snapshots"
FILES = {path.name: "settings" if "settings" in path.name else "relations" for path in sorted(HERE.iterdir())}
TABLES = {"relations": "relation_snapshot", "settings": "setting"}
ASKED = Reading("auto")
TAKEN = datetime(2026, 11, 24, 12, 59, 17, 937874, tzinfo=UTC)
ODD = 'odd "name", with\na line'


def read(name: str, content: bytes, first_line: int = 1) -> Parsed:
    log_format = registry.log_formats()[name]
    reading = log_format.sniff(content, ASKED)
    assert reading is not None
    return log_format.read(content, reading, first_line)


def rows(file: str) -> pl.DataFrame:
    return read(FILES[file], (HERE / file).read_bytes()).tables[TABLES[FILES[file]]]


def row(file: str, **wanted: object) -> dict[str, object]:
    [found] = rows(file).filter(**wanted).to_dicts()
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_header_decides_what_a_file_is_and_every_line_is_of_a_row(file: str) -> None:
    content = (HERE / file).read_bytes()
    others = [log_format for name, log_format in registry.log_formats().items() if log_format.rank < 20]
    assert [item.name for item in others if item.sniff(content, ASKED) is not None] == [FILES[file]]
    parsed = read(FILES[file], content)
    found = parsed.tables[TABLES[FILES[file]]]
    assert parsed.unparsed.height == 0
    assert found["line_count"].sum() == content.count(b"\n")
    assert (found["line_no"][0], found["line_count"][0]) == (2, 2), "the header is the first row's"


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "tests/data/csvlog").iterdir()))
def test_a_csvlog_is_no_snapshot(file: str) -> None:
    content = (ROOT / "tests/data/csvlog" / file).read_bytes()
    assert [name for name in TABLES if registry.log_formats()[name].sniff(content, ASKED) is not None] == []


def test_a_relation_and_its_file() -> None:
    assert row("relations-1.csv", relation_name="orders_pkey") == {
        "line_no": 4,
        "line_count": 1,
        "snapshot_at": TAKEN,
        "database_oid": 16384,
        "database_name": "shop",
        "tablespace_oid": 1663,
        "relfilenode": 16391,
        "relation_oid": 16391,
        "schema_name": "app",
        "relation_name": "orders_pkey",
        "relation_kind": "index",
        "index_of": "app.orders",
        "toast_of": None,
        "seen_from_lsn": lsn_parse("0/1926D30"),
        "seen_to_lsn": lsn_parse("0/1926D30"),
        "seen_from_at": TAKEN,
        "seen_to_at": TAKEN,
    }
    odd = row("relations-1.csv", relation_name=ODD)
    assert (odd["line_no"], odd["line_count"], odd["relfilenode"]) == (6, 2, 16393)
    toast = row("relations-1.csv", relation_name="pg_toast_16386_index")
    assert (toast["index_of"], toast["toast_of"]) == ("pg_toast.pg_toast_16386", "app.orders")
    shared = row("relations-1.csv", relation_name="pg_database")
    assert (shared["database_oid"], shared["database_name"], shared["tablespace_oid"]) == (0, None, 1664)


def test_a_summary_of_several_snapshots_says_when_a_file_was_first_and_last_seen() -> None:
    found = row("relfilenode_map.csv", relfilenode=17419)
    assert (found["relation_oid"], found["relation_name"], found["index_of"]) == (17280, "orders_pkey", "app.orders")
    assert (found["seen_from_lsn"], found["seen_to_lsn"]) == (lsn_parse("0/5D000D8"), lsn_parse("0/6300288"))
    assert found["snapshot_at"] == found["seen_to_at"] == datetime(2026, 11, 24, 6, 33, 55, 352568, tzinfo=UTC)
    assert found["seen_from_at"] == datetime(2026, 11, 24, 6, 33, 15, 297091, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "size", "ms", "number", "is_default"),
    [
        ("shared_buffers", "128MB", 16384 * 8192, None, 16384.0, True),
        ("work_mem", "4MB", 4096 * 1024, None, 4096.0, True),
        ("checkpoint_timeout", "5min", None, 300_000.0, 300.0, True),
        ("log_rotation_age", "1d", None, 86_400_000.0, 1440.0, True),
        ("vacuum_cost_delay", "0", None, 0.0, 0.0, True),
        ("autovacuum_work_mem", "-1", None, None, -1.0, True),
        ("wal_buffers", "4MB", 512 * 8192, None, 512.0, False),
        ("data_directory_mode", "0700", None, None, None, True),
        ("random_page_cost", "4", None, None, 4.0, True),
        ("external_pid_file", "", None, None, None, True),
        ("search_path", '"$user", public', None, None, None, True),
        ("application_name", "psql", None, None, None, False),
    ],
)
def test_a_setting_with_its_unit(
    name: str, value: str, size: int | None, ms: float | None, number: float | None, is_default: bool
) -> None:
    found = row("settings-1.csv", name=name)
    shown = [found[key] for key in ("value", "value_bytes", "value_ms", "value_number", "is_default")]
    assert shown == [value, size, ms, number, is_default]
    assert found["snapshot_at"] == TAKEN.replace(microsecond=960917)


def test_a_setting_that_was_changed_and_one_that_waits_for_a_restart() -> None:
    changed = row("settings-2.csv", name="work_mem")
    assert [changed[key] for key in ("value", "boot_value", "reset_value", "source", "is_default")] == [
        "8MB", "4MB", "8MB", "configuration file", False,
    ]  # fmt: skip
    assert row("settings-2.csv", name="shared_buffers")["is_pending_restart"] is True
    mode = read("settings", _settings("log_file_mode,0640,,sighup,configuration file,384,integer")).tables["setting"]
    assert mode.select("value", "boot_value", "is_default").row(0) == ("0640", "0600", False)


def _settings(*lines: str) -> bytes:
    return "\n".join(("name,setting,unit,context,source,boot_val,vartype", *lines, "")).encode()


def test_secrets_are_masked() -> None:
    found = row("settings-1.csv", name="primary_conninfo")
    assert found["setting"] == found["value"] == found["reset_value"]
    assert found["setting"] == "host=10.0.0.1 user=replicator password=***** application_name=a"
    content = _settings(
        "app.secret_key,s3cr3t,,user,database,,string",
        "app.token,,,user,database,,string",
        "password_encryption,md5,,user,database,scram-sha-256,enum",
        "auth.min_password_length,8,,user,database,6,integer",
        "broken.password = 'hunter2'",
    )
    parsed = read("settings", content)
    assert parsed.tables["setting"]["value"].to_list() == ["*****", None, "md5", "8"]
    assert "hunter2" in parsed.unparsed["text"].item(), "which the pipeline masks"


def test_without_a_column_its_values_are_unknown() -> None:
    found = read("settings", b"unit,setting,name,context,source\nkB,64,work_mem,user,default\n").tables["setting"]
    columns = ("name", "value", "value_bytes", "is_default", "boot_value", "snapshot_at", "is_pending_restart")
    assert found.select(columns).row(0) == ("work_mem", "64kB", 65536, None, None, None, None)


@pytest.mark.parametrize(
    ("printed", "read_as"),
    [
        ("2026-11-24 12:59:17.5+05:30", datetime(2026, 11, 24, 7, 29, 17, 500_000, tzinfo=UTC)),
        ("2026-11-24 12:59:17-03", datetime(2026, 11, 24, 15, 59, 17, tzinfo=UTC)),
        ("2026-11-24T12:59:17.937874Z", TAKEN),
        ("Tue 24 Nov 12:59:17.937874 2026 UTC", None),
        ("2026-11-24 12:59:17", None),
    ],
)
def test_times_of_any_zone_in_iso(printed: str, read_as: datetime | None) -> None:
    content = f"snapshot_at,name,setting,unit,context,source\n{printed},jit,on,,user,default\n".encode()
    parsed = read("settings", content)
    assert parsed.tables["setting"]["snapshot_at"].to_list() == ([] if read_as is None else [read_as])
    reasons = ["no rows: nothing is behind this header", "snapshot_at cannot be read"]
    assert parsed.unparsed["reason"].to_list() == ([] if read_as else reasons)


def test_what_is_no_row_is_unparsed_with_the_reason() -> None:
    content = (HERE / "relations-1.csv").read_bytes()
    lines = content.splitlines(keepends=True)
    lines[1] = lines[1].replace(b",16390,", b",many,", 1)
    lines[2] = lines[2].replace(b",pg_toast_16386,", b",,")
    lines[3] = lines[3].replace(b"orders_pkey", b'orders_"pkey')
    lines.append(lines[-1].removesuffix(b"\n")[:-1])
    parsed = read("relations", b"".join(lines))
    assert parsed.unparsed.select("line_no", "reason").rows() == [
        (2, "relfilenode cannot be read"),
        (3, "relation_name is empty"),
        (4, "no row of 12 fields, as the header has them"),
        (11, "cut off: the line has no end"),
    ]
    found = parsed.tables["relation_snapshot"]
    assert found["relation_name"].to_list() == ["orders", ODD, "pg_database", "pg_database_oid_index", "pg_class"]
    assert found["line_count"].to_list() == [2, 2, 1, 1, 1]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_header_alone_is_no_row(end: str, lake: LakeHandle, tmp_path: Path) -> None:
    path = tmp_path / "settings.csv"
    path.write_bytes((_settings().decode().rstrip("\n") + end).encode())
    parsed = read("settings", path.read_bytes())
    assert parsed.unparsed["reason"].to_list() == ["no rows: nothing is behind this header"]
    assert parsed.tables["setting"].height == 0
    if end:
        lake.ingest(path)
        with path.open("a") as file:
            file.write("jit,on,,user,default,on,bool" + end)
        lake.ingest(path)
        assert lake.sql("select line_no, line_count, name from setting").fetchall() == [(2, 2, "jit")]
        assert lake.sql("from unparsed").fetchall() == []
        assert lake.audit()[0]["meets"].all()


def test_line_ends_of_windows() -> None:
    content = (HERE / "relations-1.csv").read_bytes()
    plain, other = (read("relations", text) for text in (content, content.replace(b"\n", b"\r\n")))
    assert_frame_equal(plain.tables["relation_snapshot"], other.tables["relation_snapshot"])


@pytest.mark.parametrize("size", [150, 1500])
@pytest.mark.parametrize("file", FILES)
def test_wherever_a_file_is_cut_the_rows_are_the_same(file: str, size: int) -> None:
    content = (HERE / file).read_bytes() * 2  # the second snapshot with its header
    log_format = registry.log_formats()[FILES[file]]
    reading = log_format.sniff(content, ASKED)
    assert reading is not None
    parts = list(chunks(io.BytesIO(content), log_format, reading, 0, 1, size))
    assert b"".join(part.data for part in parts) == content
    assert len(parts) > 2 or size > 400
    table = TABLES[FILES[file]]
    parsed = [log_format.read(part.data, reading, part.first_line) for part in parts]
    assert sum(part.unparsed.height for part in parsed) == 0
    whole = log_format.read(content, reading, 1).tables[table]
    assert_frame_equal(pl.concat(part.tables[table] for part in parsed), whole)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_in_a_damaged_file_no_line_is_lost(file: str, data: st.DataObject) -> None:
    content = (HERE / file).read_bytes()
    body = content.index(b"\n") + 1
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(body, len(content) - 1))
        put = data.draw(st.sampled_from([b"", b'"', b"\n", b",", b"\0", b"\xff", b"\r", b'"\n"']))
        content = content[:at] + put + content[at + data.draw(st.integers(0, 3)) :]
    log_format = registry.log_formats()[FILES[file]]
    reading = log_format.sniff(content, ASKED)
    assert reading is not None
    for part in chunks(io.BytesIO(content), log_format, reading, 0, 1, 500):
        parsed = log_format.read(part.data, reading, part.first_line)
        lines = parsed.tables[TABLES[FILES[file]]]["line_count"].sum() + parsed.unparsed.height
        assert lines == part.lines
        assert parsed.unparsed["reason"].null_count() == 0


def test_a_missing_quote_does_not_hold_up_the_rest_of_a_file() -> None:
    line = (HERE / "settings-1.csv").read_bytes().splitlines(keepends=True)
    content = line[0] + b'2026-11-24 12:59:17+00,"x,1\n' + line[1] * 5000
    log_format = registry.log_formats()["settings"]
    assert log_format.last_record(content, Reading("settings", prefix=line[0].decode().strip())) == (
        len(content) - len(line[1])
    )
    assert read("settings", content).tables["setting"].height == 5000


def test_whose_a_file_is_over_time(lake: LakeHandle, tmp_path: Path) -> None:
    """VACUUM FULL gives a relation another file; a new name, or another relation, begins a period of its file."""
    later = (HERE / "relations-1.csv").read_text().replace("12:59:17.937874", "13:59:17.937874")
    later = later.replace("0/1926D30", "0/2000000").replace(",orders_pkey,", ",orders_id,")
    (tmp_path / "later.csv").write_text(later.replace(",16386,app,orders,", ",20000,app,other,"))
    lake.ingest([HERE / "relations-1.csv", HERE / "relations-2.csv", tmp_path / "later.csv"], server="a")
    lake.ingest(HERE / "relations-1.csv", server="b")
    columns = "lsn_text(seen_from_lsn), lsn_text(seen_to_lsn), lsn_text(valid_from_lsn), lsn_text(valid_to_lsn)"
    found = lake.sql(
        f"select relfilenode, relation_name, snapshots, {columns}, valid_from_at, valid_to_at from relation "
        "where server = 'a' and relfilenode in (16386, 16391, 16400, 1259) order by relfilenode, seen_from_lsn"
    )
    at = TAKEN + timedelta(hours=1)
    assert found.pl().rows() == [
        (1259, "pg_class", 3, "0/1926D30", "0/2000000", None, None, None, None),
        (16386, "orders", 1, "0/1926D30", "0/1926D30", None, "0/2000000", None, at),
        (16386, "other", 1, "0/2000000", "0/2000000", "0/2000000", None, at, None),
        (16391, "orders_pkey", 1, "0/1926D30", "0/1926D30", None, "0/2000000", None, at),
        (16391, "orders_id", 1, "0/2000000", "0/2000000", "0/2000000", None, at, None),
        (16400, "order", 1, "0/192C348", "0/192C348", None, None, None, None),
    ]
    audit, problems = lake.audit()
    assert problems == []
    assert audit["meets"].all()
    assert audit["unparsed"].sum() == 0


def test_each_snapshot_is_read_once_and_the_days_are_those_it_was_taken(lake: LakeHandle, tmp_path: Path) -> None:
    path = tmp_path / "settings.csv"
    for name in ("settings-1.csv", "settings-2.csv", "settings-2.csv"):
        shutil.copyfile(HERE / name, path)
        lake.ingest(path)
    assert lake.sql("select count(*), count(distinct snapshot_at) from setting").fetchall() == [(42, 2)]
    assert {part.parent.name for part in (lake.path / "tables" / "setting").rglob("part*.parquet")} <= {
        "date=2026-11-24"
    }
    changed = lake.query("settings_changed", only_changed=True).pl()
    assert changed.select("name", "change", "before", "value").rows() == [
        ("shared_buffers", "needs a restart", "128MB", "128MB"),
        ("work_mem", "changed", "4MB", "8MB"),
    ]


# --- a real server ---


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Server, Path]]:
    if BIN is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with running_server() as server:
        yield server, server.data.parent


def _documented(folder: Path, name: str) -> Path:
    """The command of docs/snapshots.md that writes ``name``, in a file for psql."""
    page = (ROOT / "docs" / "snapshots.md").read_text()
    [command] = [block for block in re.findall(r"(?m)^    copy \((?:\n    .*)+", page) if f"\\g {name}" in block]
    path = folder / f"{name}.sql"
    path.write_text(textwrap.dedent(command).replace(f"\\g {name}", f"\\g {folder / name}") + "\n")
    path.chmod(0o644)
    return path


def _take(server: Server, folder: Path, name: str) -> Path:
    run = ["psql", "-h", "127.0.0.1", "-p", server.port, "-U", "postgres", "-Xq", "-v", "ON_ERROR_STOP=1"]
    server.run(*run, "-f", str(_documented(folder, name)))
    return folder / name


def test_the_documented_query_gives_every_file_its_relation(live: tuple[Server, Path], lake: LakeHandle) -> None:
    server, folder = live
    server.sql(
        'create schema app; create table app."a ""b"", \nc" (id bigint primary key, t text); create view v as select 1'
    )
    result = lake.ingest(_take(server, folder, "relations.csv"))
    assert [(item.log_format, item.unparsed) for item in result] == [("relations", 0)]
    [[files]] = server.sql("select count(*) from pg_class where pg_relation_filenode(oid) is not null")
    assert lake.sql(
        "select count(*), count(distinct (database_oid, tablespace_oid, relfilenode)) from relation"
    ).fetchall() == [(int(files), int(files))]
    for path, lsn, kind in lake.sql(
        "select case when database_oid = 0 then 'global/' else 'base/' || database_oid || '/' end || relfilenode, "
        "seen_from_lsn, relation_kind from relation"
    ).fetchall():
        assert (server.data / path).exists(), path
        assert lsn > lsn_parse("0/1000000")
        assert len(kind) > 1
    [[oid]] = server.sql("select oid from pg_class where relname like 'a %' and relkind = 'r'")
    assert lake.sql(f"select relation_name, database_name from relation where relation_oid = {oid}").fetchall() == [
        ('a "b", \nc', "postgres")
    ]
    owned = lake.sql("select relation_kind, toast_of from relation where toast_of like 'app.%' order by all").fetchall()
    assert owned == [("index", 'app.a "b", \nc'), ("toast table", 'app.a "b", \nc')]
    assert lake.audit()[0]["meets"].all()


def test_the_documented_query_gives_settings_as_show_prints_them(live: tuple[Server, Path], lake: LakeHandle) -> None:
    server, folder = live
    result = lake.ingest(_take(server, folder, "settings.csv"))
    assert [(item.log_format, item.unparsed) for item in result] == [("settings", 0)]
    ours = dict(lake.sql("select name, md5(value) from setting").fetchall())
    names = "name <> 'application_name' and name not like 'tcp_%'"  # of the connection; SHOW says them without a unit
    shown = dict(server.sql(f"select name, md5(current_setting(name)) from pg_settings where {names}"))
    assert {name: ours[name] for name in shown} == shown
    assert len(shown) > 300
