"""Printed times become UTC, or the user is told what is missing."""

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.errors import PgtraceError, TimeZoneError, UsageError
from pgtrace.logtime import epoch_times, utc_times


def in_utc(texts: list[str | None], zones: list[str | None], timezone: str | None = None) -> list[str | None]:
    times = utc_times(pl.Series(texts, dtype=pl.String), pl.Series(zones, dtype=pl.String), timezone)
    assert times.dtype == pl.Datetime("us", "UTC")
    return times.dt.strftime("%Y-%m-%d %H:%M:%S%.3f").to_list()


@pytest.mark.parametrize(
    ("text", "zone", "timezone", "utc"),
    [
        ("2026-11-24 06:26:58.804", "UTC", None, "2026-11-24 06:26:58.804"),
        ("2026-11-24 06:26:58", "GMT", None, "2026-11-24 06:26:58.000"),
        ("2026-11-24 06:26:58.804", "Z", "Europe/Berlin", "2026-11-24 06:26:58.804"),
        ("2026-11-24 06:26:58.804", "+03", None, "2026-11-24 03:26:58.804"),
        ("2026-11-24 06:26:58.804", "-0330", None, "2026-11-24 09:56:58.804"),
        ("2026-11-24 06:26:58.804", "+05:30", "Europe/Berlin", "2026-11-24 00:56:58.804"),
        ("2026-11-24 06:26:58.804", "CET", "Europe/Berlin", "2026-11-24 05:26:58.804"),
        ("2026-07-24 06:26:58.804", "CEST", "Europe/Berlin", "2026-07-24 04:26:58.804"),
        ("2026-11-24 06:26:58.804", "IST", "Asia/Kolkata", "2026-11-24 00:56:58.804"),
        ("2026-07-24 06:26:58.804", "IST", "Europe/Dublin", "2026-07-24 05:26:58.804"),
        # Moscow moved from +04 to +03 in 2014 and kept the name
        ("2014-07-24 06:26:58.804", "MSK", "Europe/Moscow", "2014-07-24 02:26:58.804"),
        ("2014-12-24 06:26:58.804", "MSK", "Europe/Moscow", "2014-12-24 03:26:58.804"),
        # what is no time
        ("2026-13-24 06:26:58.804", "UTC", None, None),
        ("2026-11-24 06:26:58,804", "UTC", None, None),
        ("2026-11-24 06:26:58.+12", "UTC", None, None),
        ("2026-11-24 06:26:58.80", "UTC", None, None),
        ("2026-11-24 06:26:58.804", "12", None, None),
        ("DETAIL:  a line of text", "UTC", None, None),
        ("", "UTC", None, None),
        (None, "UTC", None, None),
        ("2026-11-24 06:26:58.804", None, None, None),
    ],
)
def test_a_printed_time_is_one_moment(text: str, zone: str, timezone: str | None, utc: str | None) -> None:
    assert in_utc([text], [zone], timezone) == [utc]


def test_zones_and_precisions_may_be_mixed() -> None:
    texts: list[str | None] = ["2026-10-25 02:30:00.001", "2026-10-25 02:30:00", None, "2026-10-25 02:30:00.001"]
    zones: list[str | None] = ["CEST", "CET", "CET", "UTC"]
    expected = ["2026-10-25 00:30:00.001", "2026-10-25 01:30:00.000", None, "2026-10-25 02:30:00.001"]
    assert in_utc(texts, zones, "Europe/Berlin") == expected


MOSCOW = ["00:30", "01:10", "01:59", "01:01", "01:00", "01:40", "02:10"]


@pytest.mark.parametrize(
    ("first", "last", "utc"),
    [
        (0, 7, ["20:30", "21:10", "21:59", "22:01", "22:00", "22:40", "23:10"]),
        (0, 3, ["20:30", "21:10", "21:59"]),
        (1, 5, ["21:10", "21:59", "22:01", "22:00"]),
        # no step back to be seen, but the hour is left forwards: the second time round
        (3, 7, ["22:01", "22:00", "22:40", "23:10"]),
        # nothing to go by: the first
        (1, 3, ["21:10", "21:59"]),
    ],
)
def test_in_the_hour_that_occurs_twice_the_order_of_rows_decides(first: int, last: int, utc: list[str]) -> None:
    texts: list[str | None] = [f"2014-10-26 {time}:00.000" for time in MOSCOW[first:last]]
    times = in_utc(texts, ["MSK"] * len(texts), "Europe/Moscow")
    assert [time[11:16] for time in times if time] == utc


@pytest.mark.parametrize(
    ("zone", "timezone", "error", "words"),
    [
        ("CET", None, TimeZoneError, ["'CET'", "--timezone Europe/Berlin"]),
        ("PST", None, TimeZoneError, ["'PST'", "--timezone America/Los_Angeles"]),
        ("EST", "Europe/Berlin", TimeZoneError, ["'EST'", "Europe/Berlin", "CET, CEST"]),
        ("UTC", "Europe/Berln", UsageError, ["'Europe/Berln'", "Europe/Berlin"]),
        ("CET", "berlin", UsageError, ["'berlin'", "Europe/Berlin"]),
        ("CET", "Europe", UsageError, ["'Europe'"]),
        ("CET", "/etc/passwd", UsageError, ["'/etc/passwd'"]),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    zone: str, timezone: str | None, error: type[PgtraceError], words: list[str]
) -> None:
    with pytest.raises(error, match=re.escape(words[0])) as caught:
        in_utc(["2026-11-24 06:26:58.804"], [zone], timezone)
    text = str(caught.value)
    assert "\n" not in text
    assert [word for word in words if word not in text] == []


def test_an_abbreviation_without_a_time_needs_no_zone() -> None:
    assert in_utc(["2026-11-24 06:26:58.804", "cp"], ["UTC", "stat"]) == ["2026-11-24 06:26:58.804", None]


def test_seconds_since_1970() -> None:
    times = epoch_times(pl.Series(["1795501776.554", "1795501776", "-795501776.554", "17955x1776.554", "", None]))
    assert times.to_list() == [datetime(2026, 11, 24, 6, 29, 36, 554000, tzinfo=UTC), None, None, None, None, None]


@given(
    st.lists(st.datetimes(datetime(1995, 1, 1), datetime(2037, 12, 31)), min_size=1, max_size=20),
    st.integers(-14 * 60, 14 * 60),
)
def test_a_numeric_offset_is_undone(moments: list[datetime], minutes: int) -> None:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    texts: list[str | None] = [f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}" for moment in moments]
    expected = [(moment - timedelta(minutes=minutes)).isoformat(" ", "milliseconds") for moment in moments]
    assert in_utc(texts, [f"{sign}{hours:02}{rest:02}"] * len(texts)) == expected
