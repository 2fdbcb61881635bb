"""Times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pgtrace.errors import UsageError
from pgtrace.timespan import parse_time

NOW = datetime(2026, 11, 24, 14, 5, 30, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24 14:05", datetime(2026, 11, 24, 14, 5, tzinfo=UTC)),
        ("2026-11-24T14:05:06.5", datetime(2026, 11, 24, 14, 5, 6, 500_000, tzinfo=UTC)),
        ("2026-11-24T14:05:00Z", datetime(2026, 11, 24, 14, 5, tzinfo=UTC)),
        ("2026-11-24T14:05:00+01:00", datetime(2026, 11, 24, 13, 5, tzinfo=UTC)),
        ("now", NOW),
        ("Today", datetime(2026, 11, 24, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 23, tzinfo=UTC)),
        ("-1d", NOW - timedelta(days=1)),
        ("-1w", NOW - timedelta(weeks=1)),
        ("-2h", NOW - timedelta(hours=2)),
        ("-90min", NOW - timedelta(minutes=90)),
        ("-30s", NOW - timedelta(seconds=30)),
        ("-1.5h", NOW - timedelta(minutes=90)),
        (" -1 d ", NOW - timedelta(days=1)),
        ("+1h", NOW + timedelta(hours=1)),
    ],
)
def test_a_time_is_read_as_utc(text: str, expected: datetime) -> None:
    time = parse_time(text, now=NOW)
    assert time == expected
    assert time.utcoffset() == timedelta(0)


def test_days_begin_at_midnight_utc_wherever_now_is_said() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert parse_time("today", now=datetime(2026, 11, 25, 3, tzinfo=tokyo)) == datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "24.11.2026", "1d", "-1y", "-d", "2026-13-01", "-99999999999d", "14:05"]
)
def test_what_is_not_a_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time: write 2026-11-24"):
        parse_time(text, now=NOW)
