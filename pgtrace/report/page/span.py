"""The time that a page is about, and how its times read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pgtrace.api import LakeHandle
from pgtrace.report.page.markup import Markup, tag, text
from pgtrace.timespan import window
from pgtrace.zones import zone_named

#: lengths of a step in seconds, so that steps begin at times that people read easily
_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400]


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked: bounds for the queries (None: unbounded), and what is there: the first and the last time, UTC."""

    since: datetime | None
    until: datetime | None
    server: str | None
    zone: ZoneInfo
    first_at: datetime
    last_at: datetime

    @property
    def bounds(self) -> dict[str, Any]:
        """Parameters that every query with such bounds takes."""
        return {"since": self.since, "until": self.until, "server": self.server}

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.last_at - self.first_at).total_seconds()

    def step_s(self, most: int) -> int:
        """Length of a step of which at most ``most`` cover the span."""
        for step in _STEPS:
            if self.seconds / step < most - 1:
                return step
        return 86400 * (int(self.seconds / 86400 / (most - 1)) + 1)

    @property
    def offset(self) -> timedelta:
        """What the zone's clock is ahead of UTC when the span begins; charts keep to it throughout."""
        return self.first_at.astimezone(self.zone).utcoffset() or timedelta(0)

    def chart_ms(self, time: datetime) -> int:
        """Where a time is on a chart's axis, whose ticks are of UTC: milliseconds, moved by the offset."""
        return round((time.astimezone(UTC) + self.offset).timestamp() * 1000)

    def words(self, time: datetime, *, with_date: bool = True) -> str:
        """``2026-11-24 14:05:00`` by the zone's clock."""
        return f"{time.astimezone(self.zone):{'%Y-%m-%d %H:%M:%S' if with_date else '%H:%M:%S'}}"

    def html(self, time: datetime) -> Markup:
        """The same as HTML, with the time in UTC for machines."""
        return tag("time", text(self.words(time)), datetime=f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")

    def offset_words(self) -> str:
        """``UTC+01:00``."""
        minutes = round(self.offset.total_seconds() / 60)
        sign = "-" if minutes < 0 else "+"
        return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "UTC"

    @property
    def clock_changes(self) -> bool:
        """Whether the zone's offset at the end is another than at the beginning."""
        return self.last_at.astimezone(self.zone).utcoffset() != self.offset


def asked_span(
    lake: LakeHandle, since: str | datetime | None, until: str | datetime | None, server: str | None, timezone: str
) -> Span:
    """The span of what was read, cut to what is asked. Raises UsageError for what is not a time or a zone."""
    zone = zone_named(timezone)
    asked = window(_words(since), _words(until), timezone)
    bounds = "select min(first_at) as first_at, max(last_at) as last_at from source"
    where = " where $server is null or server = $server"
    [source] = lake.connection.sql(bounds + where, params={"server": server}).pl().to_dicts()
    first, last = source["first_at"], source["last_at"]
    begin = max(time for time in (first, asked.since) if time is not None) if first or asked.since else asked.now
    end = min(time for time in (last, asked.until) if time is not None) if last or asked.until else asked.now
    return Span(asked.since, asked.until, server, zone, begin, max(begin, end))


def _words(time: str | datetime | None) -> str | None:
    return time.isoformat() if isinstance(time, datetime) else time
