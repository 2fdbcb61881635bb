"""What syslog daemons do to the lines they write: control characters are escaped, times lose their year.

Source: rsyslog's parser.escapeControlCharactersOnReceive and parser.escape8BitCharactersOnReceive; RFC 3164, RFC 5424.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from pgtrace.jsonlines import outer_times
from pgtrace.logtime import zoneless_times

#: what rsyslog writes for line ends, TABs and other control characters; #003366 is a colour and none of them
_LINE_CONTROLS = {"#011": "\t", "#012": "\n"}
_CONTROLS = {f"#{code:03o}": chr(code) for code in range(1, 32)}
_OTHER_CONTROL = "#0(?:0[1-7]|1[03-7]|[23][0-7])"
_COLOUR = r"#((?:00[0-7]|01[03-7]|0[23][0-7])(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{5}))\b"
_NO_CONTROL = "\x1f#"
#: a character of several bytes (parser.escape8BitCharactersOnReceive)
_ESCAPED_UTF8 = "#3[0-3][0-7]#2[0-7]{2}|#34[0-7](?:#2[0-7]{2}){2}|#36[0-4](?:#2[0-7]{2}){3}"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: a step of so many days, of 31 in each month, is one from December to January or back
_TURN = 300


def unescaped(text: pl.Series) -> pl.Series:
    """Text without the ``#011`` of rsyslog."""
    where = text.str.contains("#[03]").fill_null(False).arg_true()
    if where.is_empty():
        return text
    some = text.gather(where)
    controls = _LINE_CONTROLS
    if some.str.contains(_OTHER_CONTROL).any():
        some = some.str.replace_all(_COLOUR, _NO_CONTROL + "${1}")
        controls = {**_CONTROLS, _NO_CONTROL: "#"}
    letters = some.str.extract_all(_ESCAPED_UTF8).explode().drop_nulls().unique()
    controls = {**controls, **{escaped: _letter(escaped) for escaped in letters}}
    return text.scatter(where, some.str.replace_many(list(controls), list(controls.values())))


def _letter(escaped: str) -> str:
    try:
        return bytes(int(code, 8) for code in escaped[1:].split("#")).decode()
    except ValueError:
        return escaped


def stamp_times(stamps: pl.Series, timezone: str | None) -> pl.Series:
    """The syslog's own times as UTC. Raises TimeZoneError where they have no zone and none is given."""
    distinct = stamps.rename("stamp").unique(maintain_order=True)
    printed = distinct.to_frame().select(pl.col("stamp").str.replace(r"^<[0-9]+>(?:1 )?", ""))["stamp"]
    is_iso = printed.str.contains("T", literal=True) & printed.str.contains("^[0-9]")
    times = outer_times(printed.set(~is_iso, None))
    if not is_iso.all():
        times = times.zip_with(is_iso.fill_null(True), zoneless_times(_with_years(printed.set(is_iso, None)), timezone))
    known = pl.DataFrame({"stamp": distinct, "time": times})
    return stamps.to_frame("stamp").join(known, on="stamp", how="left", maintain_order="left")["time"]


def _with_years(printed: pl.Series) -> pl.Series:
    """``Nov 24 06:26:58`` as ``2026-11-24 06:26:58``: of the years that put no line into the future the newest.

    Lines are in order, so a December before a January is of the year before it.
    """
    fraction = pl.col("printed").str.slice(15, 4).str.pad_end(4, "0")
    number = {name: at for at, name in enumerate(_MONTHS, 1)}
    frame = printed.to_frame("printed").select(
        pl.col("printed").str.slice(0, 3).replace_strict(number, default=None, return_dtype=pl.Int32).alias("month"),
        pl.col("printed").str.slice(4, 2).str.strip_chars().cast(pl.Int32, strict=False).alias("day"),
        pl.col("printed").str.slice(7, 8).alias("clock"),
        pl.when(pl.col("printed").str.len_bytes() > 15).then(fraction).otherwise(pl.lit("")).alias("fraction"),
    )
    latest = _now() + timedelta(days=1)  # of any zone, by a clock that may be a little ahead
    months = frame["month"].drop_nulls()
    if months.is_empty():
        return printed
    days = frame["month"] * 31 + frame["day"]
    steps = days.forward_fill().diff()
    turns = (steps < -_TURN).cast(pl.Int32).fill_null(0) - (steps > _TURN).cast(pl.Int32).fill_null(0)
    is_ahead = days.drop_nulls()[-1] > latest.month * 31 + latest.day
    year = latest.year - int(is_ahead) - (turns.sum() - turns.cum_sum())
    is_leap_day = (frame["month"] == 2) & (frame["day"] == 29)
    year = (year - year % 4).zip_with(is_leap_day.fill_null(False), year) if is_leap_day.any() else year
    two_digits = (pl.col(name).cast(pl.String).str.zfill(2) for name in ("month", "day"))
    text = pl.format("{}-{}-{} {}{}", "year", *two_digits, "clock", "fraction")
    return frame.with_columns(year.alias("year")).select(text.alias("printed"))["printed"]


def _now() -> datetime:
    return datetime.now(UTC)
