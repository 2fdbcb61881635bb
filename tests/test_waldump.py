"""The text of pg_waldump: every record and every block as pg_waldump's own statistics count them."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import pgtrace
from pgtrace import registry
from pgtrace.errors import TimeZoneError
from pgtrace.logformat import Parsed, Reading
from pgtrace.units import lsn_parse

HERE = Path(__file__).parent / "data" / "waldump"
FORMAT = registry.log_formats()["waldump"]
ASKED = Reading("auto")
TEXTS = ["15.txt.gz", "15.blocks.txt", "16.txt", "18.txt", "walinspect.txt", "recovery.txt", "names.txt"]


def text(name: str) -> bytes:
    content = (HERE / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def read(content: bytes, first_line: int = 1) -> Parsed:
    return FORMAT.read(content, Reading("waldump"), first_line)


def records(content: bytes) -> pl.DataFrame:
    return read(content).tables["wal_record"]


def blocks(content: bytes) -> pl.DataFrame:
    return read(content).tables["wal_block"].head(-1)


def statistics(name: str) -> dict[str, tuple[int, ...]]:
    """Counts and sizes by what ``pg_waldump --stats`` prints of them."""
    share = r" +\([ \d.]+\)"
    line = rf"(?m)^(?!Total)(\S+) +(\d+){share} +(\d+){share} +(\d+){share} +(\d+){share}$"
    found = re.findall(line, text(name).decode())
    return {kind: tuple(map(int, numbers)) for kind, *numbers in found if numbers[0] != "0"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("15.stats.txt.gz", pl.col("resource_manager")),
        ("15.stats_record.txt.gz", pl.col("resource_manager") + "/" + pl.col("record_type")),
    ],
)
def test_counts_and_sizes_are_those_that_pg_waldump_prints_itself(name: str, kind: pl.Expr) -> None:
    sums = (pl.col(size).sum() for size in ("record_bytes", "fpi_bytes", "total_bytes"))
    found = records(text("15.txt.gz")).group_by(kind.alias("kind")).agg(pl.len(), *sums)
    assert {row[0]: row[1:] for row in found.iter_rows()} == statistics(name)


def test_every_block_reference_is_a_row() -> None:
    content = text("15.txt.gz")
    rows = blocks(content)
    assert rows.height == content.count(b"blkref #") > 0
    assert rows["is_full_page"].sum() == content.count(b" FPW") > 0
    assert set(rows["fork"]) >= {"main", "fsm", "vm"}
    per_record = records(content).select(pl.col("block_count", "fpi_count").sum())
    assert per_record.row(0) == (rows.height, content.count(b" FPW"))


def test_with_and_without_block_lines_the_tables_are_the_same() -> None:
    detailed, plain = text("15.blocks.txt"), text("15.txt.gz")
    count = detailed.count(b"rmgr: ")
    plain = b"".join(plain.splitlines(keepends=True)[:count])
    assert_frame_equal(records(detailed).drop("line_no", "line_count"), records(plain).drop("line_no", "line_count"))
    only_there = ["line_no", "hole_offset", "hole_length"]
    assert_frame_equal(blocks(detailed).drop(only_there), blocks(plain).drop(only_there))
    with_hole = blocks(detailed).select(pl.col("hole_offset", "hole_length").is_not_null().all().over("is_full_page"))
    assert with_hole.rows() == [(full, full) for full in blocks(detailed)["is_full_page"]]


@pytest.mark.parametrize("name", TEXTS)
def test_every_line_is_of_a_record_or_unparsed(name: str) -> None:
    content = text(name)
    assert FORMAT.sniff(content, ASKED) == Reading("waldump")
    parsed = read(content)
    rows = parsed.tables["wal_record"]
    assert rows["line_count"].sum() + parsed.unparsed.height == content.count(b"\n")
    assert parsed.unparsed["text"].to_list() == (["next"] if name == "names.txt" else [])
    assert rows.height == len(re.findall(rb"(?m)^rmgr: .*len \(rec/tot\)", content))
    assert (rows["prev_lsn"].drop_nulls()[1:] == rows["lsn"][:-1]).all()
    assert (rows["end_lsn"][:-1] == rows["lsn"][1:]).all()


def test_a_record_of_version_18() -> None:
    row = records(text("18.txt")).filter(pl.col("record_type") == "CHECKPOINT_ONLINE").row(0, named=True)
    assert (row["xid"], row["is_commit"], row["block_count"]) == (None, False, 0)
    assert row["description"].startswith("redo 0/")
    prune = records(text("18.txt")).filter(pl.col("record_type") == "PRUNE_ON_ACCESS")
    assert prune["description"].str.contains(", isCatalogRel: F, nplans: ").all()


def test_rows_of_pg_walinspect_in_this_layout() -> None:
    content = text("walinspect.txt")
    rows = records(content)
    commit = rows.filter("is_commit").row(0, named=True)
    assert commit["committed_at"] == datetime(2026, 11, 24, 6, 30, 59, 473074, tzinfo=UTC)
    assert blocks(content).height == content.count(b"blkref #")
    assert blocks(content)["hole_length"].drop_nulls().len() == content.count(b"hole: ")


def test_wide_names_and_numbers_and_what_few_servers_write() -> None:
    """Written by hand: custom managers, images for verification, compression as before version 15, large numbers."""
    rows = records(text("wide.txt"))
    assert rows.select("resource_manager", "record_type", "xid", "record_bytes", "fpi_bytes", "line_count").rows() == [
        ("Heap2", "CLEAN", None, 64, 8192, 3),
        ("custom128", "UNKNOWN (f0)", 4294967290, 64, 0, 1),
        ("Heap", "INSERT+INIT", 123456789, 1234567, 1, 2),
    ]
    assert rows["lsn"].to_list() == [lsn_parse(lsn) for lsn in ("A/28", "A/2068", "A/20A8")]
    assert rows["prev_lsn"][0] == lsn_parse("9/FFFFFF80")
    assert rows["description"].to_list() == ["remxid 5", "rmid: 128", "off 1"]
    found = blocks(text("wide.txt")).select("block_no", "database_oid", "relfilenode", "fork", "block")
    assert found.rows() == [
        (0, 5, 1259, "main", 7),
        (10, 4294967295, 123456789, "init", 4294967294),
        (0, 5, 1259, "fsm", 7),
    ]
    found = blocks(text("wide.txt")).select(
        "is_full_page", "is_fpi_for_verification", "hole_length", "compression_saved_bytes"
    )
    assert found.rows() == [(True, False, 3, 470), (True, True, 9, None), (False, False, None, None)]
    method = text("wide.txt").replace(b"saved: 470", b"saved: 470, method: lz4")
    assert blocks(method)["compression_method"].to_list() == ["lz4", None, None]


def test_a_file_that_begins_with_a_record_wider_than_its_columns() -> None:
    wide = text("names.txt").split(b"\n", 15)[15]
    assert wide.startswith(b"rmgr: LogicalMessage")
    assert_frame_equal(records(wide).drop("line_no"), records(b"rmgr\n" + wide).drop("line_no"))
    assert records(wide)["xid"][0] == 116133


def test_names_that_look_like_block_references_or_have_line_ends() -> None:
    rows = records(text("names.txt"))
    named = rows.filter(pl.col("record_type").is_in(["PREPARE", "MESSAGE", "RESTORE_POINT"]))
    assert named["block_count"].sum() == 0
    assert named["gid"].drop_nulls().to_list() == [
        "gid, blkref #0: rel 1/2/3 blk 4",
        "g2: 2020-01-01 00:00:00.000000 UTC",
        "g3\nnext line",
    ]
    prepared = rows.filter(pl.col("prepared_xid").is_not_null())
    assert prepared.select("record_type", "prepared_xid", "is_commit", "is_abort", "xid").rows() == [
        ("COMMIT_PREPARED", 116130, True, False, None),
        ("ABORT_PREPARED", 116131, False, True, None),
        ("COMMIT_PREPARED", 116132, True, False, None),
    ]
    assert prepared["committed_at"][0] == datetime(2026, 11, 24, 12, 13, 32, 443298, tzinfo=UTC)
    assert 'non-transactional, prefix "two\n\nrmgr: Heap"; payload (1 bytes): 78' in rows["description"]


def test_what_logical_messages_carry_is_left_out_on_demand() -> None:
    parsed = FORMAT.read(text("names.txt"), Reading("waldump", redact=True), 1)
    messages = parsed.tables["wal_record"].filter(pl.col("resource_manager") == "LogicalMessage")["description"]
    assert messages[0] == 'transactional, prefix "plain"; payload (7 bytes): …'
    assert not messages.str.contains("payload .*[0-9A-F]{2}$").any()


def test_times_are_of_the_commits_around() -> None:
    rows = records(text("names.txt"))
    basis = rows["time_basis"].to_list()
    assert basis[:6] == ["before a commit", "commit", "between commits", "between commits", "commit", "between commits"]
    assert basis[-1] == "after a commit"
    between = rows.row(2, named=True)
    assert between["committed_at"] is None
    assert (between["time_after"], between["time_before"]) == (rows["committed_at"][1], rows["committed_at"][4])
    assert rows["time_after"][0] is None


def test_the_end_of_recovery_says_its_time_and_is_no_commit() -> None:
    rows = records(text("recovery.txt"))
    end = rows.filter(pl.col("record_type") == "END_OF_RECOVERY").row(0, named=True)
    at = datetime(2026, 11, 24, 6, 28, 25, 895574, tzinfo=UTC)
    assert (end["time_basis"], end["time_after"], end["committed_at"]) == ("own time", at, None)


def test_an_idle_server_has_no_times() -> None:
    idle = b"".join(line for line in text("18.txt").splitlines(keepends=True) if not re.search(b"COMMIT|ABORT", line))
    rows = records(idle)
    assert rows.select(pl.col("time_after", "time_before", "time_basis").null_count()).row(0) == (rows.height,) * 3


def test_lines_of_others_are_kept_with_a_reason() -> None:
    lines = text("15.blocks.txt").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(b"\t")) + 1
    assert lines[first].startswith(b"rmgr: ")
    mixed = [
        b"first record is after 0/800000, at 0/800068, skipping over 104 bytes\n",
        *lines[:first],
        b"Killed\n",
        b"\tblkref #0: rel 1663/5/1259 fork main blk 7\n",
        lines[0].replace(b"   233/", b"   2x3/"),
        *lines[first:],
        lines[0].rstrip() + b" , blkref #0: rel 1663/5/12\x00 blk 3\n",
        b"\n",
        b"pg_waldump: error: error in WAL record at 0/6400028: invalid record length at 0/64000A0: wanted 24, got 0\n",
        b"rmgr: Heap        len (rec/tot):     54/    54, tx:          0, ls",
    ]
    parsed = read(b"".join(mixed))
    whole = records(b"".join(lines)).drop("line_no")
    assert_frame_equal(parsed.tables["wal_record"].drop("line_no"), whole)
    assert parsed.unparsed["reason"].to_list() == [
        "what pg_waldump says of itself",
        "no record of pg_waldump's",
        "a block reference without its record",
        "no record of pg_waldump's",
        "its block references cannot be read",
        "no record of pg_waldump's",
        "what pg_waldump says of itself",
        "cut off: the line has no end",
    ]
    assert parsed.unparsed["line_no"].to_list()[0] == 1
    assert parsed.unparsed["near"][0] is None


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(TEXTS[1:]),
    places=st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 30)), min_size=1, max_size=5),
    damage=st.sampled_from(
        [b"", b"\n", b"9", b" ", b"\x00", b"\xff", b", blkref #0: rel 1/2/3 blk 4", b"\tblkref #", b"rmgr: "]
    ),
)
def test_no_damage_loses_a_line(name: str, places: list[tuple[int, int]], damage: bytes) -> None:
    content = text(name)
    for at, length in places:
        content = content[:at] + damage + content[at + length :]
    try:
        parsed = read(content)
    except TimeZoneError:
        return  # the name of the zone was hit
    rows = parsed.tables["wal_record"]
    lines = content.count(b"\n") + (content != b"" and not content.endswith(b"\n"))
    assert rows["line_count"].sum() + parsed.unparsed.height == lines
    assert rows["block_count"].sum() == blocks(content).height
    assert rows.filter(pl.col("total_bytes") < 0).is_empty()


def test_a_cut_off_block_line_leaves_its_record() -> None:
    cut = text("15.blocks.txt")[:-9]
    parsed = read(cut)
    assert parsed.unparsed["reason"].to_list() == ["cut off: the line has no end"]
    assert parsed.tables["wal_record"].height == records(text("15.blocks.txt")).height


@pytest.mark.parametrize("damage", [b"\r\n", b"\xff\xfe", b"\x00"])
def test_other_line_ends_and_bytes_that_are_no_text(damage: bytes) -> None:
    content = text("names.txt")
    damaged = content.replace(b"\n", damage) if damage == b"\r\n" else content.replace(b'"big"', b'"' + damage + b'"')
    assert_frame_equal(records(damaged).drop("description"), records(content).drop("description"))


def test_nothing_is_nothing() -> None:
    parsed = read(b"")
    assert (parsed.tables["wal_record"].height, parsed.unparsed.height) == (0, 0)
    assert FORMAT.sniff(b"", ASKED) is None
    assert FORMAT.sniff(text("15.stats.txt.gz"), ASKED) is None
    only_errors = b"pg_waldump: fatal: could not find a valid record after 0/1000000\n"
    assert read(only_errors).unparsed.height == 1


def test_a_zone_that_needs_a_name_is_asked_for() -> None:
    local = text("names.txt").replace(b" UTC", b" CET")
    with pytest.raises(TimeZoneError, match="--timezone"):
        FORMAT.sniff(local, ASKED)
    reading = FORMAT.sniff(local, Reading("auto", timezone="Europe/Berlin"))
    assert reading is not None
    commit = FORMAT.read(local, reading, 1).tables["wal_record"]["committed_at"].drop_nulls()[0]
    assert commit == datetime(2026, 11, 24, 11, 13, 32, 191610, tzinfo=UTC)


def joined(parts: list[bytes]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables of a text that came in parts, put together as ingest does it."""
    line = 1
    out: dict[str, list[pl.DataFrame]] = {"wal_record": [], "wal_block": []}
    waiting: dict[str, pl.DataFrame | None] = dict.fromkeys(out)
    nobody = pl.DataFrame(schema={"pid": pl.Int64, "line_no": pl.Int64})
    for part in parts:
        parsed = read(part, line)
        line += part.count(b"\n")
        for table, rows in parsed.tables.items():
            done = FORMAT.join_with[table](rows, nobody, waiting[table])
            out[table].append(done.rows)
            waiting[table] = done.waiting
    last = waiting["wal_record"]
    found = pl.concat([*out["wal_record"], *([] if last is None else [last])])
    return found, pl.concat(out["wal_block"]).drop("first_lsn", "timeline", "is_before_commits")


def cut(content: bytes, size: int) -> list[bytes]:
    parts = []
    while content:
        at = FORMAT.last_record(content[:size], Reading("waldump")) if len(content) > size else 0
        parts.append(content[: at or len(content)])
        content = content[at or len(content) :]
    return parts


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(3_000, 30_000), name=st.sampled_from(["15.txt.gz", "15.blocks.txt", "names.txt", "recovery.txt"])
)
def test_parts_give_the_same_tables_wherever_they_are_cut(size: int, name: str) -> None:
    content = text(name)
    for found, whole in zip(joined(cut(content, size)), joined([content]), strict=True):
        assert_frame_equal(found, whole)
    assert_frame_equal(joined([content])[0], records(content))


def test_nothing_is_concluded_where_lsns_step_back() -> None:
    content = text("names.txt")
    for parts in ([content, content], [content + content]):
        rows = joined(parts)[0]
        both = pl.concat([records(content), records(content)])
        assert_frame_equal(rows.drop("line_no"), both.drop("line_no"))


def test_rows_that_wait_for_a_commit_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtrace.waltimes.MOST_WAITING", 3)
    content = text("15.txt.gz")
    found, _ = joined(content.splitlines(keepends=True))
    whole = records(content)
    assert_frame_equal(found.drop("time_before", "time_basis"), whole.drop("time_before", "time_basis"))
    assert found["time_before"].drop_nulls().len() < whole["time_before"].drop_nulls().len()


def test_ingest_keeps_every_line(tmp_path: Path) -> None:
    log = tmp_path / "waldump.txt"
    log.write_bytes(text("15.txt.gz") + b"Killed\n")
    lake = pgtrace.open(tmp_path / "lake")
    [result] = lake.ingest([log])
    assert (result.log_format, result.status, result.unparsed) == ("waldump", "read", 1)
    assert result.records == 413  # also those that wait for the next commit
    assert lake.audit()[0]["meets"].all()
    assert lake.sql("select sum(total_bytes) from wal_record").fetchall() == [(1038668,)]
    assert lake.sql("select count(*) from wal_block where block_no is null").fetchall() == [(0,)]
    joins = "select count(*) from wal_block join wal_record using (source_id, line_no, lsn)"
    assert lake.sql(joins).fetchall() == lake.sql("select count(*) from wal_block").fetchall()


def test_a_file_that_grew_is_as_one_that_was_whole(tmp_path: Path) -> None:
    lines = text("15.txt.gz").splitlines(keepends=True)
    whole, growing = tmp_path / "whole.txt", tmp_path / "growing.txt"
    whole.write_bytes(b"".join(lines))
    lake, other = pgtrace.open(tmp_path / "lake"), pgtrace.open(tmp_path / "other")
    lake.ingest([whole])
    for count in (50, 51, 200, len(lines)):
        growing.write_bytes(b"".join(lines[:count]))
        other.ingest([growing])
    assert other.audit()[0]["meets"].all()
    for table in ("wal_record", "wal_block"):
        query = f"from {table} order by lsn, line_no, {'block_no' if table == 'wal_block' else 'line_count'}"
        assert_frame_equal(lake.sql(query).pl(), other.sql(query).pl())


def test_segments_in_any_order_are_read_in_that_of_their_lsns(tmp_path: Path) -> None:
    lines = text("15.txt.gz").splitlines(keepends=True)
    for name, part in (("a", lines[200:]), ("b", lines[:200])):
        (tmp_path / f"{name}.txt").write_bytes(b"".join(part))
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest([tmp_path / "a.txt", tmp_path / "b.txt"])
    found = lake.sql("from wal_record order by lsn").pl()
    whole = records(b"".join(lines))
    columns = ["lsn", "end_lsn", "time_after", "time_before", "time_basis"]
    assert_frame_equal(found.select(columns), whole.select(columns))
