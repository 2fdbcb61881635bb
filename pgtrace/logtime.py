"""Times as a log prints them, turned into UTC on whole columns.

A log prints local time and the zone's abbreviation (strftime's ``%Z``; src/backend/utils/error/elog.c,
``get_formatted_log_time``). UTC, GMT and numeric offsets say what they mean. Any other abbreviation does not (``IST``
is India, Ireland and Israel), so the zone must be named: --timezone Europe/Berlin.

Limitations: where one name stands on both sides of a clock change (``MSK`` in 2014), the hour that occurs twice is
resolved by the order of the rows of one call. Times that step back by more than a minute begin the second pass. A call
that begins inside that hour and runs out of it without stepping back is taken for the second pass; one that lies
inside it as a whole is taken for the first. The start times of sessions are not in order, so theirs is a guess there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import polars as pl

from pgtrace.errors import TimeZoneError
from pgtrace.zones import zone_named

_UTC_NAMES = frozenset(("UTC", "GMT", "UCT", "Z", "Zulu"))
_OFFSET = re.compile(r"([+-])(\d{2})(?::?([0-5]\d)(?::?([0-5]\d))?)?")
_ABBREVIATION = re.compile(r"[A-Za-z]{2,10}")
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
#: records of concurrent backends reach the file a little out of order; a clock set back steps further than this
_JITTER = 60 * _SECOND
#: what to suggest for an abbreviation; only an example in the message of an error
_EXAMPLES = {
    "EST": "America/New_York", "EDT": "America/New_York", "CST": "America/Chicago", "CDT": "America/Chicago",
    "MST": "America/Denver", "MDT": "America/Denver", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles",
    "BST": "Europe/London", "EET": "Europe/Helsinki", "EEST": "Europe/Helsinki", "MSK": "Europe/Moscow",
    "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "KST": "Asia/Seoul", "HKT": "Asia/Hong_Kong",
    "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney", "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Period:
    """A stretch of UTC in which a zone keeps one offset and one name; all in microseconds, ``end`` exclusive."""

    start: int
    end: int
    offset: int
    name: str


def utc_times(text: pl.Series, zone: pl.Series, timezone: str | None) -> pl.Series:
    """Printed times as UTC (Datetime, microseconds), one per row; null where the text is no time.

    ``text`` holds ``YYYY-MM-DD HH:MM:SS`` or the same with ``.mmm``, ``zone`` the zone as printed, ``timezone`` the
    IANA name for abbreviations. Raises TimeZoneError for an abbreviation that needs ``timezone`` or is not one of its
    names, UsageError for a ``timezone`` that does not exist.
    """
    known = None if timezone is None else zone_named(timezone)
    local = _local_times(text)
    names = _distinct(zone)
    offsets = {name: offset for name in names if (offset := _fixed_offset(name)) is not None}
    if len(offsets) < len(names):
        frame = pl.DataFrame({"local": local, "zone": zone})
        used = frame.lazy().filter(pl.col("local").is_not_null()).select(pl.col("zone").unique()).collect()
        unknown = {name for name in used["zone"].drop_nulls() if name not in offsets and _ABBREVIATION.fullmatch(name)}
        if unknown:
            return _abbreviated_times(frame, offsets, sorted(unknown), timezone, known)
    return _as_utc(local - _offset_column(zone, names, offsets))


def zoneless_times(text: pl.Series, timezone: str | None) -> pl.Series:
    """Times printed without a zone, as UTC; null where the text is no time. Raises TimeZoneError without ``timezone``.

    An hour that occurs twice is taken for its first pass, one that a clock change left out is null.
    """
    local = _local_times(text)
    if timezone is None:
        if local.null_count() == local.len():
            return _as_utc(local)
        raise TimeZoneError("its times have no zone: name it, as in --timezone Europe/Berlin, or UTC")
    name = zone_named(timezone).key
    wall = local.cast(pl.Datetime("us"))
    return wall.dt.replace_time_zone(name, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def epoch_times(text: pl.Series) -> pl.Series:
    """Times printed as seconds since 1970 (``%n``: ``1795501776.554``) as UTC; null where it is no such number."""
    cut = (
        text.rename("text").to_frame().select(seconds=pl.col("text").str.head(-4), fraction=pl.col("text").str.tail(4))
    )
    whole = pl.col("seconds").cast(pl.UInt32, strict=False).cast(pl.Int64) * _SECOND
    unsigned = pl.when(pl.col("seconds") >= "0").then(whole).alias("seconds")
    parts = cut.select(unsigned, _milliseconds(pl.col("fraction")))
    return _as_utc(parts["seconds"] + parts["fraction"])


def _local_times(text: pl.Series) -> pl.Series:
    """Microseconds since 1970 by the clock on the wall, as Int64.

    The whole seconds repeat and Polars caches what it has parsed, so cutting off the milliseconds makes it ten times
    as fast as a format with ``%.f``.
    """
    cut = (
        text.rename("text")
        .to_frame()
        .select(seconds=pl.col("text").str.slice(0, 19), fraction=pl.col("text").str.slice(19))
    )
    seconds = pl.col("seconds").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).cast(pl.Int64)
    is_whole = cut["fraction"] == ""
    if is_whole.all():
        return cut.select(seconds).to_series()
    parts = cut.select(seconds, _milliseconds(pl.col("fraction")))
    times = parts["seconds"] + parts["fraction"]
    if is_whole.any():
        times = parts.select(pl.when(is_whole).then("seconds").otherwise(times)).to_series()
    return times


def _milliseconds(fraction: pl.Expr) -> pl.Expr:
    """Microseconds for ``.mmm``, null for anything else.

    A dot and then a digit (not a sign, which a cast would take) is what sorts from ``.0`` up to ``/``.
    """
    is_fraction = (fraction >= ".0") & (fraction < "/") & (fraction.str.len_bytes() == 4)
    return pl.when(is_fraction).then(fraction.str.slice(1).cast(pl.UInt16, strict=False).cast(pl.Int64) * 1000)


def _distinct(zone: pl.Series) -> list[str]:
    """Names in the column; nearly always there is one, and comparing is much faster than counting."""
    first = zone[0] if zone.len() else None
    if first is not None and zone.null_count() == 0 and (zone == first).all():
        return [first]
    return zone.drop_nulls().unique().to_list()


def _fixed_offset(name: str) -> int | None:
    """Microseconds east of Greenwich for UTC and its other names and for ``+03``, ``-0330``, ``+05:30``."""
    if name in _UTC_NAMES:
        return 0
    match = _OFFSET.fullmatch(name)
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    return (1 if match[1] == "+" else -1) * (hours * 3600 + minutes * 60 + seconds) * _SECOND


def _offset_column(zone: pl.Series, names: list[str], offsets: dict[str, int]) -> pl.Series | int:
    if len(names) == 1 and zone.null_count() == 0 and names[0] in offsets:
        return offsets[names[0]]
    if not offsets:
        return pl.Series([None], dtype=pl.Int64).new_from_index(0, zone.len())
    return zone.replace_strict(list(offsets), list(offsets.values()), default=None, return_dtype=pl.Int64)


def _as_utc(microseconds: pl.Series) -> pl.Series:
    return microseconds.cast(pl.Datetime("us", "UTC"))


def _abbreviated_times(
    frame: pl.DataFrame, offsets: dict[str, int], unknown: list[str], timezone: str | None, known: ZoneInfo | None
) -> pl.Series:
    """Times some of which are in the zone ``known``, under the names ``unknown``."""
    if known is None:
        example = _EXAMPLES.get(unknown[0], "Europe/Berlin")
        raise TimeZoneError(
            f"its times are in '{unknown[0]}', which does not say which time zone is meant: "
            f"name the zone, for example --timezone {example}"
        )
    earliest, latest = frame["local"].min(), frame["local"].max()
    assert isinstance(earliest, int) and isinstance(latest, int)  # noqa: PT018  a time was read, or no name is unknown
    periods = _periods(known, _year(earliest), _year(latest))
    moving = []
    for name in unknown:
        found = {period.offset for period in periods if period.name == name}
        if not found:
            own = ", ".join(dict.fromkeys(period.name for period in periods))
            raise TimeZoneError(
                f"its times are in '{name}', but --timezone {timezone} has no such name (it has {own}): "
                "name the zone that the server logs in"
            )
        if len(found) == 1:
            offsets[name] = found.pop()
        else:
            moving.append(name)
    shift = _offset_column(frame["zone"], frame["zone"].drop_nulls().unique().to_list(), offsets)
    times = frame["local"] - shift
    for name in moving:
        rows = (frame["zone"] == name).arg_true()
        resolved = _by_rules(frame["local"].gather(rows), [period for period in periods if period.name == name])
        times = times.scatter(rows, resolved)
    return _as_utc(times)


def _year(microseconds: int) -> int:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).year


@cache
def _periods(zone: ZoneInfo, first_year: int, last_year: int) -> tuple[_Period, ...]:
    """Periods of ``zone`` that touch these years: every day is asked for, and halved where the answer changes."""
    # a broken clock may print any year; the bounds keep the work small, and names mean the same outside them
    first_year, last_year = max(first_year, 1970), min(last_year, 2100)
    start = datetime(first_year, 1, 1, tzinfo=UTC) - timedelta(days=2)
    days = max(last_year - first_year + 1, 1) * 366 + 4
    changes = [start]
    for number in range(days):
        low, high = start + timedelta(days=number), start + timedelta(days=number + 1)
        if _rule(zone, low) == _rule(zone, high):
            continue
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if _rule(zone, middle) == _rule(zone, low) else (low, middle)
        changes.append(high)
    ends = [*changes[1:], start + timedelta(days=days)]
    return tuple(_Period(_epoch(low), _epoch(high), *_rule(zone, low)) for low, high in zip(changes, ends, strict=True))


def _rule(zone: ZoneInfo, moment: datetime) -> tuple[int, str]:
    local = moment.astimezone(zone)
    return (local.utcoffset() or timedelta()) // timedelta(microseconds=1), local.tzname() or ""


def _epoch(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _by_rules(local: pl.Series, periods: list[_Period]) -> pl.Series:
    """UTC for local times whose name has several offsets; where two periods fit, the order of the rows decides."""
    times = pl.Series([None], dtype=pl.Int64).new_from_index(0, local.len())
    for period in periods:
        fits = local.is_between(period.start + period.offset, period.end + period.offset, closed="left")
        again = (fits & times.is_not_null()).arg_true()
        times = (
            local.to_frame("local")
            .select(pl.when(fits & times.is_null()).then(pl.col("local") - period.offset).otherwise(times))
            .to_series()
        )
        if again.len():
            second = again.filter(_second_pass(local, again))
            times = times.scatter(second, local.gather(second) - period.offset)
    return times


def _second_pass(local: pl.Series, twice: pl.Series) -> pl.Series:
    """Which of the rows ``twice``, whose local time occurs twice, belong to the second time round."""
    within = local.gather(twice)
    peak = within.cum_max()
    stepped_back = (peak - within > _JITTER).cast(pl.Int8).cum_max().cast(pl.Boolean)
    if stepped_back.any() or twice[0] > 0:
        return stepped_back
    runs_out = int(twice[-1]) + 1 < local.len()
    return pl.Series([runs_out]).new_from_index(0, twice.len())
