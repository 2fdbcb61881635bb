"""Times as people write them on a command line, and the windows between two of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pgtrace.errors import UsageError
from pgtrace.zones import zone_named

_RELATIVE = re.compile(r"([+-][0-9]+(?:\.[0-9]+)?)\s*(s|sec|min|m|h|d|w)")
_SECONDS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
#: whole days and weeks, which a calendar counts from midnight
_DAYS = re.compile(r"([+-][0-9]+)\s*([dw])")


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """A time in UTC: ``2026-11-24``, ``2026-11-24 14:05``, ``2026-11-24T14:05:00+01:00``, ``now``, ``today``,
    ``yesterday``, ``-1d``, ``-90min`` (before ``now``). Without an offset it is UTC. Raises UsageError.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    clean = text.strip().lower()
    if clean in words:
        return words[clean]
    relative = _RELATIVE.fullmatch(clean)
    try:
        if relative is not None:
            return now + timedelta(seconds=float(relative[1]) * _SECONDS[relative[2]])
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is not a time: write 2026-11-24, '2026-11-24 14:05', -1d, -90min, now, today or yesterday"
        ) from None


@dataclass(frozen=True, slots=True)
class Window:
    """From ``since`` on and before ``until``, in UTC; None is unbounded. ``asked_…`` is what the user wrote.

    ``now`` is the time that "today" and "-1d" were counted from, ``timezone`` the zone whose midnights they are.
    """

    since: datetime | None
    until: datetime | None
    timezone: str
    asked_since: str | None
    asked_until: str | None
    now: datetime


def window(since: str | None, until: str | None, timezone: str = "UTC", now: datetime | None = None) -> Window:
    """The window between two times as ``calendar_time`` reads them.

    Raises UsageError for what is not a time or a zone, and where ``until`` is not after ``since``.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    zone = zone_named(timezone)
    first = None if since is None else calendar_time(since, zone, now)
    last = None if until is None else calendar_time(until, zone, now)
    if first is not None and last is not None and last <= first:
        raise UsageError(
            f"until '{until}' is not after since '{since}': {last:%Y-%m-%d %H:%M} and {first:%Y-%m-%d %H:%M} UTC"
        )
    return Window(first, last, timezone, since, until, now)


def calendar_time(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """A time in UTC, where days, weeks and months are those of the calendar in ``zone``.

    ``today``, ``yesterday``, ``this week`` (its Monday), ``last week``, ``this month``, ``last month`` and whole days
    (``-1d``, ``-2w``) are midnights of the zone, also where its clock changed in between; ``now``, ``-90min``, ``-6h``
    are counted from ``now``. A date or time without an offset is the zone's; one that occurs twice is the first of the
    two, one that was left out is as much later as was left out. Raises UsageError.
    """
    today = now.astimezone(zone).date()
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    days = {
        "today": today,
        "yesterday": today - timedelta(days=1),
        "this week": monday,
        "last week": monday - timedelta(weeks=1),
        "this month": first,
        "last month": (first - timedelta(days=1)).replace(day=1),
    }
    clean = " ".join(text.lower().split())
    whole_days = _DAYS.fullmatch(clean)
    try:
        if clean in days:
            return _midnight(days[clean], zone)
        if whole_days is not None:
            return _midnight(today + timedelta(days=int(whole_days[1]) * (7 if whole_days[2] == "w" else 1)), zone)
        if clean == "now" or _RELATIVE.fullmatch(clean):
            return parse_time(clean, now)
        moment = datetime.fromisoformat(text.strip())
        return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is not a time: write 2026-11-24, '2026-11-24 14:05', -1d, -90min, now, today, yesterday, "
            "'this week', 'last week', 'this month' or 'last month'"
        ) from None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day; where its midnight was left out that is the moment the clock was put forward."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
