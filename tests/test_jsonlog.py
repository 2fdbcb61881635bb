"""A jsonlog gives the records that the csvlog of the same server gives, and loses no line."""

import json
from dataclasses import replace
from typing import Any

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

JSONLOG, CSVLOG = log_formats()["jsonlog"], log_formats()["csvlog"]
ASKED = Reading("auto")
FILES = {path.stem: path.read_bytes() for path in sorted((DATA / "jsonlog").glob("*.json"))}
LOG = FILES["18"]
LINES = LOG.splitlines(keepends=True)
READING = Reading("jsonlog")
RECORDS = JSONLOG.read(LOG, READING, 1).records
SMALL = b"".join([LINES[3], *[line for line in LINES if b"sqlascii" in line]])


def with_keys(line: bytes, **keys: Any) -> bytes:
    return json.dumps({**json.loads(line), **keys}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_holds_what_the_csvlog_holds(name: str) -> None:
    """The files are of the same records; concurrent processes may reach them in another order."""
    csv = (DATA / "csvlog" / f"{name}.csv").read_bytes()
    key, place = ["session_id", "session_line_no"], ["line_no", "line_count"]
    expected = CSVLOG.read(csv, Reading("csvlog", columns=26), 1).records.drop(place).sort(key)
    parsed = read_all(JSONLOG, FILES[name], READING)
    assert parsed.unparsed.is_empty()
    assert_frame_equal(parsed.records.drop(place).sort(key), expected)


def test_records_are_lines() -> None:
    assert RECORDS["line_no"].to_list() == list(range(1, len(LINES) + 1))
    assert RECORDS["line_count"].to_list() == [1] * len(LINES)


def test_the_location_reads_as_in_a_csvlog() -> None:
    csv = (DATA / "csvlog" / "15-verbose.csv").read_bytes()
    location = CSVLOG.read(csv, Reading("csvlog", columns=26), 1).records["location"].drop_nulls()[0]
    function, _, place = location.partition(", ")
    file, _, number = place.partition(":")
    line = with_keys(LINES[0], func_name=function, file_name=file, file_line_num=int(number))
    assert read_all(JSONLOG, line, READING).records["location"].to_list() == [location]


def test_windows_line_ends_are_no_part_of_a_record() -> None:
    text = LOG.replace(b"\n", b"\r\n")
    reading = JSONLOG.sniff(text, ASKED)
    assert reading == replace(READING, line_end=b"\r\n")
    assert_frame_equal(read_all(JSONLOG, text, reading).records, RECORDS)


@pytest.mark.parametrize(
    ("damage", "unparsed"),
    [
        pytest.param(b"cp: cannot stat '/archive/00000002.history': No such file or directory\n", 1, id="stderr noise"),
        pytest.param(b"\n\n", 2, id="blank lines"),
        pytest.param(LINES[3][:90] + b"\n", 1, id="half a record"),
        pytest.param(LINES[3][90:], 1, id="the other half"),
        pytest.param((LINES[3][:90] + b"\n" + LINES[3][90:]) * 20, 40, id="many halves"),
        pytest.param(LINES[3][:-1] + LINES[3], 1, id="two on a line"),
        pytest.param(b"[1]\n{}\nnull\n", 3, id="other JSON"),
        pytest.param(b'{"timestamp":"2026-11-24 06:26:58.804 UTC","pid":{"a":1}}\n', 1, id="nested JSON"),
        pytest.param(with_keys(LINES[0], pid="many"), 1, id="a number that is none"),
        pytest.param(with_keys(LINES[0], error_severity="LOUD"), 1, id="no such level"),
        pytest.param(with_keys(LINES[0], timestamp="2026-11-34 06:26:58.804 UTC"), 1, id="no such day"),
        pytest.param(b"2026-11-24 06:26:58.804 UTC [1] LOG:  listening\n\tthere\n", 2, id="stderr log"),
        pytest.param(b"\0" * 512 + b"\n", 1, id="NUL bytes"),
        pytest.param(b'{"timestamp":"\\x"}\n{"timestamp":"\x01"}\n', 2, id="broken escapes"),
    ],
)
@pytest.mark.parametrize("before", range(len(LINES)))
def test_records_around_damage_survive(damage: bytes, unparsed: int, before: int) -> None:
    parsed = read_all(JSONLOG, b"".join([*LINES[:before], damage, *LINES[before:]]), READING)
    assert_same_records(parsed.records, RECORDS)
    assert parsed.unparsed["line_no"].to_list() == list(range(before + 1, before + 1 + unparsed))
    near = None if before == 0 else RECORDS["logged_at"][before - 1]
    assert parsed.unparsed["near"].to_list() == [near] * unparsed
    assert parsed.unparsed["reason"].null_count() == 0


def test_a_record_behind_the_nul_bytes_of_a_crash_survives() -> None:
    text = LINES[0] + b"\0" * 4096 + b"".join(LINES[1:])
    assert_frame_equal(read_all(JSONLOG, text, READING).records, RECORDS)


def test_a_cut_costs_the_record_that_is_cut() -> None:
    for cut in range(len(SMALL) + 1):
        assert_survives_cut(JSONLOG, SMALL, READING, cut)


@given(st.binary(max_size=60), st.integers(0, len(LINES)))
@settings(deadline=None, max_examples=60)
def test_no_bytes_make_it_fail(noise: bytes, at: int) -> None:
    read_all(JSONLOG, b"".join([*LINES[:at], noise, *LINES[at:]]), READING)


@pytest.mark.parametrize("text", [*FILES.values(), LOG.replace(b"\n", b"\r\n")])
def test_chunks_are_cut_between_records(text: bytes) -> None:
    reading = JSONLOG.sniff(text, ASKED)
    assert reading is not None
    assert_chunks_are_whole(JSONLOG, text, reading)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"cp: cannot stat 'x'\n" + LOG, id="begins with noise"),
        pytest.param(LOG[300:], id="begins in the middle of a record"),
        pytest.param(b"\0" * 100 + LOG, id="begins with NUL bytes"),
        pytest.param(LINES[0][:-1], id="one record without line end"),
        pytest.param(with_keys(LINES[0], message="x" * 100_000)[:50_000], id="a record longer than the head"),
    ],
)
def test_it_is_recognised_by_what_it_holds(head: bytes) -> None:
    assert JSONLOG.sniff(head, ASKED) == READING


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b'{"level":"info","ts":"2026-11-24T06:26:58Z","logger":"postgres","record":{"message":"x"}}\n',
        b'{"timestamp":"2026-11-24T06:26:58Z","message":"of another program"}\n',
        b'["timestamp","message"]\n',
        (DATA / "csvlog" / "18.csv").read_bytes(),
    ],
)
def test_other_text_is_no_jsonlog(head: bytes) -> None:
    assert JSONLOG.sniff(head, ASKED) is None


def test_a_zone_that_needs_an_option_shows_at_once() -> None:
    text = LOG.replace(b' UTC"', b' CET"')
    with pytest.raises(TimeZoneError, match=r"'CET'.*--timezone"):
        JSONLOG.sniff(text, ASKED)
    reading = JSONLOG.sniff(text, replace(ASKED, timezone="Europe/Berlin"))
    assert reading == replace(READING, timezone="Europe/Berlin")
    times = JSONLOG.read(text, reading, 1).records["logged_at"]
    assert_frame_equal(times.to_frame(), RECORDS.select(pl.col("logged_at").dt.offset_by("-1h")))
