"""Every record of a csvlog is read, and every line of a damaged one is accounted for."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from named_field_logs import (
    DATA,
    assert_chunks_are_whole,
    assert_same_records,
    assert_survives_cut,
    read_all,
)
from polars.testing import assert_frame_equal

from pgtrace.errors import TimeZoneError
from pgtrace.logformat import Reading
from pgtrace.registry import log_formats

CSVLOG = log_formats()["csvlog"]
ASKED = Reading("auto")
FILES = {path.stem: path.read_bytes() for path in sorted((DATA / "csvlog").glob("*.csv"))}
LOG = FILES["18"]
LINES = LOG.splitlines(keepends=True)


def sniffed(text: bytes) -> Reading:
    reading = CSVLOG.sniff(text, ASKED)
    assert reading is not None
    return reading


READING = sniffed(LOG)
RECORDS = CSVLOG.read(LOG, READING, 1).records
#: a record of seven lines with quotes, and one with bytes that are no UTF-8
SMALL = b"".join([*LINES[3:10], *[line for line in LINES if b"sqlascii" in line]])


def of_version_12() -> bytes:
    """Version 12 writes what 13 does but for the last field."""
    return b"".join(
        line.rsplit(b",", 1)[0] + b"\n" if line.endswith(b'"\n') else line
        for line in FILES["13"].splitlines(keepends=True)
    )


@pytest.mark.parametrize(("name", "columns"), [("13", 24), ("15", 26), ("18", 26), ("15-verbose", 26)])
def test_a_real_log_is_read_whole(name: str, columns: int) -> None:
    reading = sniffed(FILES[name])
    assert (reading.log_format, reading.columns, reading.line_end) == ("csvlog", columns, b"\n")
    parsed = read_all(CSVLOG, FILES[name], reading)
    assert parsed.unparsed.is_empty()
    assert parsed.records.height == FILES[name].count(b"\n2026-11-24 ") + 1


def test_the_fields_are_where_they_belong() -> None:
    row = RECORDS.row(2, named=True)
    assert row == {
        **dict.fromkeys(RECORDS.columns),
        "line_no": 3,
        "line_count": 1,
        "logged_at": datetime(2026, 11, 24, 6, 26, 59, 28000, tzinfo=UTC),
        "pid": 29172,
        "session_id": "6b052e32.71f4",
        "user_name": "postgres",
        "database_name": "postgres",
        "application_name": "setup",
        "client_host": "127.0.0.1",
        "client_port": 32936,
        "session_line_no": 5,
        "session_started_at": datetime(2026, 11, 24, 6, 26, 58, tzinfo=UTC),
        "backend_type": "client backend",
        "command_tag": "CREATE ROLE",
        "vxid": "0/0",
        "xid": 0,
        "query_id": -4123096179427743458,
        "severity": "LOG",
        "sqlstate": "00000",
        "message": "duration: 2.194 ms  statement: CREATE ROLE app_rw LOGIN;",
    }


def test_a_message_keeps_its_quotes_and_lines() -> None:
    row = RECORDS.row(3, named=True)
    assert row["message"].startswith('automatic analyze of table "shop.pg_catalog.pg_type"\ndelay time: 12.542 ms\n')
    assert (row["line_no"], row["line_count"]) == (4, 7)


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    row = RECORDS.filter(pl.col("database_name") == "sqlascii").row(0, named=True)
    assert row["message"] == "duration: 0.237 ms  statement: SELECT 'caf\ufffd d\ufffdj\ufffd \ufffdand\ufffd \ufffd'"


def test_a_local_client_has_no_port() -> None:
    row = RECORDS.filter(pl.col("message") == "connection received: host=[local]").row(0, named=True)
    assert (row["client_host"], row["client_port"]) == ("[local]", None)


def test_an_ipv6_client_keeps_its_colons() -> None:
    text = LINES[2].replace(b"127.0.0.1:32936", b"fe80::1%eth0:32936")
    row = read_all(CSVLOG, text, READING).records.row(0, named=True)
    assert (row["client_host"], row["client_port"]) == ("fe80::1%eth0", 32936)


def test_version_12_has_one_field_less_than_13() -> None:
    older, newer = of_version_12(), FILES["13"]
    assert sniffed(older).columns == 23
    records = read_all(CSVLOG, older, sniffed(older)).records
    expected = CSVLOG.read(newer, sniffed(newer), 1).records
    assert_frame_equal(records.drop("backend_type"), expected.drop("backend_type"))
    assert records["backend_type"].null_count() == records.height


def test_a_file_that_a_new_version_goes_on_with_is_read_whole() -> None:
    text = FILES["13"] + LOG
    parsed = read_all(CSVLOG, text, sniffed(text))
    assert parsed.unparsed.is_empty()
    assert_same_records(parsed.records.tail(RECORDS.height), RECORDS)


def test_windows_line_ends_are_no_part_of_a_message() -> None:
    text = LOG.replace(b"\n", b"\r\n")
    reading = sniffed(text)
    assert reading.line_end == b"\r\n"
    assert_frame_equal(read_all(CSVLOG, text, reading).records, RECORDS)


HALF = LINES[2][:70]
OPEN_QUOTE = LINES[2][:140]
QUOTED_LOG = LINES[2].replace(
    b"CREATE ROLE app_rw LOGIN;", b"select '\n" + LINES[2][:-1].replace(b'"', b'""') + b"\n';"
)


@pytest.mark.parametrize(
    ("damage", "unparsed"),
    [
        pytest.param(b"cp: cannot stat '/archive/00000002.history': No such file or directory\n", 1, id="stderr noise"),
        pytest.param(b'sh: 1: Syntax error: Unterminated quoted string "\n', 1, id="an unbalanced quote"),
        pytest.param(b"\n\n", 2, id="blank lines"),
        pytest.param(HALF + b"\n", 1, id="half a record"),
        pytest.param(OPEN_QUOTE + b"\n", 1, id="half a record with an open quote"),
        pytest.param(b"".join(LINES[3:6]), 3, id="half a record of many lines"),
        pytest.param(b"".join(LINES[5:10]), 5, id="the end of a record of many lines"),
        pytest.param((HALF + b"\n") * 3 + (OPEN_QUOTE + b"\n") * 2, 5, id="several halves"),
        pytest.param(b'{"timestamp":"2026-11-24 06:26:58.804 UTC","pid":1,"message":"x"}\n', 1, id="jsonlog"),
        pytest.param(b"2026-11-24 06:26:58.804 UTC [1] LOG:  listening\n\tthere\n", 2, id="stderr log"),
        pytest.param(LINES[2].replace(b"2026-11-24", b"2026-11-34"), 1, id="no such day"),
        pytest.param(LINES[2].replace(b",29172,", b",many,"), 1, id="a number that is none"),
        pytest.param(LINES[2].replace(b",LOG,", b",LOUD,"), 1, id="no such level"),
        pytest.param(LINES[2][:-1] + b",1\n", 1, id="one field too many"),
        pytest.param(b"\0" * 512 + b"\n", 1, id="NUL bytes"),
    ],
)
@pytest.mark.parametrize("before", range(RECORDS.height))
def test_records_around_damage_survive(damage: bytes, unparsed: int, before: int) -> None:
    at = RECORDS["line_no"][before] - 1
    parsed = read_all(CSVLOG, b"".join([*LINES[:at], damage, *LINES[at:]]), READING)
    assert_same_records(parsed.records, RECORDS)
    assert parsed.unparsed["line_no"].to_list() == list(range(at + 1, at + 1 + unparsed))
    near = None if before == 0 else RECORDS["logged_at"][before - 1]
    assert parsed.unparsed["near"].to_list() == [near] * unparsed
    assert parsed.unparsed["reason"].null_count() == 0


def test_a_record_behind_the_nul_bytes_of_a_crash_survives() -> None:
    text = LINES[0] + b"\0" * 4096 + b"".join(LINES[1:])
    assert_frame_equal(read_all(CSVLOG, text, READING).records, RECORDS)


@pytest.mark.parametrize("damage", [b"noise\n", OPEN_QUOTE + b"\n", HALF + b"\n", LINES[3]])
def test_a_log_quoted_in_a_message_is_one_message_even_next_to_damage(damage: bytes) -> None:
    parsed = read_all(CSVLOG, b"".join([LINES[0], damage, QUOTED_LOG, damage, LINES[2]]), READING)
    assert parsed.records["line_count"].to_list() == [1, 3, 1]
    quoted = LINES[2][:-1].decode()
    assert parsed.records["message"][1] == f"duration: 2.194 ms  statement: select '\n{quoted}\n';"
    assert parsed.unparsed.height == 2


@pytest.mark.parametrize("part", range(4))
def test_a_cut_costs_the_record_that_is_cut(part: int) -> None:
    for cut in range(part, len(SMALL) + 1, 4):
        assert_survives_cut(CSVLOG, SMALL, READING, cut)


@given(st.sampled_from(sorted(FILES)), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_a_cut_anywhere_in_a_real_log(name: str, share: float) -> None:
    text = FILES[name]
    assert_survives_cut(CSVLOG, text, sniffed(text), int(share * len(text)))


@given(st.binary(max_size=60), st.integers(0, len(LINES)))
@settings(deadline=None, max_examples=60)
def test_no_bytes_make_it_fail(noise: bytes, at: int) -> None:
    read_all(CSVLOG, b"".join([*LINES[:at], noise, *LINES[at:]]), READING)


@pytest.mark.parametrize("text", [*FILES.values(), LINES[0] + QUOTED_LOG + LINES[2], LOG.replace(b"\n", b"\r\n")])
def test_chunks_are_cut_between_records(text: bytes) -> None:
    assert_chunks_are_whole(CSVLOG, text, sniffed(text))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"cp: cannot stat 'x'\n" + LOG, id="begins with noise"),
        pytest.param(LOG[300:], id="begins in the middle of a record"),
        pytest.param(LOG[1100:], id="begins in the middle of a message"),
        pytest.param(b"\0" * 100 + LOG, id="begins with NUL bytes"),
        pytest.param(LINES[0][:-1], id="one record without line end"),
    ],
)
def test_it_is_recognised_by_what_it_holds(head: bytes) -> None:
    assert CSVLOG.sniff(head, ASKED) == READING


def test_a_first_record_longer_than_the_head_is_recognised_and_read() -> None:
    text = LINES[2].replace(b"app_rw", b"app_rw" * 20_000)
    reading = sniffed(text[:50_000])
    assert read_all(CSVLOG, text, reading).unparsed.is_empty()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b"a,b,c\n1,2,3\n",
        b"2026-11-24 06:26:58.804 UTC [1] LOG:  listening\n",
        LINES[0].replace(b"LOG", b"LAG"),
    ],
)
def test_other_text_is_no_csvlog(head: bytes) -> None:
    assert CSVLOG.sniff(head, ASKED) is None


def test_a_zone_that_needs_an_option_shows_at_once() -> None:
    text = LOG.replace(b" UTC,", b" CET,")
    with pytest.raises(TimeZoneError, match=r"'CET'.*--timezone"):
        CSVLOG.sniff(text, ASKED)
    reading = CSVLOG.sniff(text, replace(ASKED, timezone="Europe/Berlin"))
    assert reading is not None
    assert reading.timezone == "Europe/Berlin"
    times = CSVLOG.read(text, reading, 1).records["logged_at"]
    assert_frame_equal(times.to_frame(), RECORDS.select(pl.col("logged_at").dt.offset_by("-1h")))
