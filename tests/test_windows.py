"""Windows of a report: days, weeks and months of a zone's calendar, also where its clock changes."""

from datetime import UTC, datetime, timedelta

import pytest

from pgtrace.errors import UsageError
from pgtrace.timespan import window

#: a Tuesday, 14:05 in London and 23:05 in Tokyo
NOW = datetime(2026, 11, 24, 14, 5, 30, tzinfo=UTC)
AFTER_MIDNIGHT_IN_TOKYO = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("today", "UTC", "2026-11-24 00:00"),
        ("Yesterday", "UTC", "2026-11-23 00:00"),
        ("-1d", "UTC", "2026-11-23 00:00"),
        ("-1 d", "Europe/Berlin", "2026-11-22 23:00"),
        ("-2w", "UTC", "2026-11-10 00:00"),
        ("today", "Europe/Berlin", "2026-11-23 23:00"),
        ("today", "Asia/Kolkata", "2026-11-23 18:30"),
        ("this week", "UTC", "2026-11-23 00:00"),
        ("last  week", "America/New_York", "2026-11-16 05:00"),
        ("this month", "Europe/Berlin", "2026-10-31 23:00"),
        ("last month", "Europe/Berlin", "2026-09-30 22:00"),
        ("2026-11-24", "Europe/Berlin", "2026-11-23 23:00"),
        ("2026-07-24 14:05", "Europe/Berlin", "2026-07-24 12:05"),
        ("2026-11-24T14:05+09:00", "Europe/Berlin", "2026-11-24 05:05"),
        ("2026-10-25 02:30", "Europe/Berlin", "2026-10-25 00:30"),  # occurs twice: the first
        ("2026-03-29 02:30", "Europe/Berlin", "2026-03-29 01:30"),  # left out: as 03:30
    ],
)
def test_days_begin_at_midnight_of_the_zone(text: str, zone: str, expected: str) -> None:
    since = window(text, None, zone, NOW).since
    assert since is not None
    assert f"{since:%Y-%m-%d %H:%M}" == expected
    assert since.utcoffset() == timedelta(0)


def test_what_day_it_is_depends_on_the_zone() -> None:
    assert window("today", None, "Asia/Tokyo", NOW).since == datetime(2026, 11, 23, 15, tzinfo=UTC)
    assert window("today", None, "Asia/Tokyo", AFTER_MIDNIGHT_IN_TOKYO).since == datetime(2026, 11, 24, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "hours"), [("2026-03-30T06:15+02:00", 23), ("2026-10-26T06:15+01:00", 25), ("2026-11-24T06:15+01:00", 24)]
)
def test_yesterday_is_a_whole_day_also_when_the_clock_changed(now: str, hours: int) -> None:
    day = window("-1d", "today", "Europe/Berlin", datetime.fromisoformat(now))
    assert day.since is not None
    assert day.until is not None
    assert day.until - day.since == timedelta(hours=hours)


def test_a_day_whose_midnight_was_left_out_begins_when_the_clock_was_put_forward() -> None:
    """Cairo goes from 23:59:59 to 01:00:00."""
    now = datetime(2026, 4, 24, 12, tzinfo=UTC)
    today, yesterday = (window(text, None, "Africa/Cairo", now).since for text in ("today", "yesterday"))
    assert today == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert yesterday == datetime(2026, 4, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize(("text", "hours"), [("-6h", 6), ("-90min", 1.5), ("-0.5d", 12), ("now", 0)])
def test_hours_and_minutes_are_counted_from_now(text: str, hours: float) -> None:
    assert window(text, None, "Asia/Tokyo", NOW).since == NOW - timedelta(hours=hours)


def test_a_window_remembers_what_was_asked_and_when() -> None:
    found = window("-1d", None, "Europe/Berlin", NOW)
    assert (found.asked_since, found.asked_until, found.timezone, found.until, found.now) == (
        "-1d",
        None,
        "Europe/Berlin",
        None,
        NOW,
    )


@pytest.mark.parametrize(
    ("since", "until", "zone", "complaint"),
    [
        ("lunch", None, "UTC", "'lunch' is not a time: write 2026-11-24"),
        (None, "-99999999999d", "UTC", "is not a time"),
        ("-999999d", None, "UTC", "is not a time"),
        ("next week", None, "UTC", "is not a time"),
        ("today", "today", "UTC", "until 'today' is not after since 'today'"),
        ("today", "-1d", "UTC", "2026-11-23 00:00 and 2026-11-24 00:00 UTC"),
        (None, None, "Europe/Berln", "'Europe/Berln' is not an IANA time zone: did you mean Europe/Berlin"),
        (None, None, "../../etc/passwd", "is not an IANA time zone"),
        (None, None, "berlin", "did you mean Europe/Berlin"),
    ],
)
def test_what_is_not_a_window_is_refused(since: str | None, until: str | None, zone: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint.replace("(", "\\(")):
        window(since, until, zone, NOW)
