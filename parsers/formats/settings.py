"""The server's settings: snapshots of pg_settings as CSV, by the query in docs/snapshots.md or ``select *``.

Secrets are masked, by what stands beside them (primary_conninfo) and by the name of the setting (app.secret_key).

Limitations: what a session sees: settings of the role, the database and the client that took the snapshot are in it,
with that as their ``source``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import polars as pl

from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.secretrules import HIDDEN
from pgtrace.secrets import masked
from pgtrace.snapshots import Snapshot, as_format

_BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_MICROSECONDS = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_NUMBER = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$"
#: of files, as 0700; octal, which no other number is
_MODE = r"^0[0-7]{3}$"
_TEXTS = ("setting", "value", "boot_value", "reset_value")

SETTING = Table(
    name="setting",
    one_row_per="setting, in each snapshot that was supplied",
    columns={
        **ORIGIN,
        "line_count": Column("lines of the file that the row takes, with the header before it", int),
        "snapshot_at": Column("when the snapshot was taken; null: the file does not say", datetime),
        "name": Column("the setting"),
        "setting": Column("its value, in its unit"),
        "unit": Column("unit of the value: 8kB, ms, …"),
        "value": Column("its value as SHOW prints it, in the largest unit that fits: 128MB, 5min"),
        "value_bytes": Column("a size in bytes; null: no size, or one below 0, which stands for off or automatic", int),
        "value_ms": Column("a duration; null: none, or one below 0, which stands for off or automatic", float, "ms"),
        "value_number": Column("a number in its unit; null: not a number", float),
        "is_default": Column("whether the value is the one built in", bool),
        "context": Column("who may change it when: internal, postmaster (at start), sighup (reload), user, …"),
        "source": Column("where the value is from: default, configuration file, client, …"),
        "boot_value": Column("the value built in, as SHOW would print it"),
        "reset_value": Column("the value that RESET gives the session, as SHOW would print it"),
        "is_pending_restart": Column("whether the file has another value, which waits for a restart", bool),
        "value_type": Column("bool, enum, integer, real or string"),
        "min_value": Column("least value"),
        "max_value": Column("greatest value"),
    },
    time="snapshot_at",
)


def _complete(rows: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """What the values mean, and their secrets masked."""
    setting, boot = pl.col("setting"), pl.col("boot_value")
    factor, base = (pl.col("unit").str.extract(r"^(\d*)([A-Za-z]+)$", group) for group in (1, 2))
    sizes, durations = (
        base.replace_strict(units, default=None, return_dtype=pl.Int64) for units in (_BYTES, _MICROSECONDS)
    )
    whole = rows.with_columns(
        unit_bytes=factor.replace("", "1").cast(pl.Int64) * sizes,
        unit_us=durations,
        is_mode=(setting.str.contains(_MODE) & (pl.col("value_type") == "integer")).fill_null(False),
        # null where nothing is built in, and the server has an empty text then
        boot_value=boot.fill_null("") if "boot_value" in known else boot,
    )
    number, us = _number(setting), _number(setting) * pl.col("unit_us")
    whole = whole.with_columns(
        value_number=number,
        value_bytes=pl.when(number >= 0).then(number * pl.col("unit_bytes")).cast(pl.Int64),
        value_ms=pl.when(number >= 0).then(us / 1000),
        value=_shown(setting),
        boot_value=_shown(pl.col("boot_value")),
        reset_value=_shown(pl.col("reset_value")),
    )
    return _masked(whole.with_columns(is_default=pl.col("value").fill_null("") == pl.col("boot_value")))


def _number(text: pl.Expr) -> pl.Expr:
    is_number = text.str.contains(_NUMBER) & pl.col("value_type").is_in(["integer", "real"]).fill_null(True)
    return pl.when(is_number).then(text).cast(pl.Float64, strict=False)


def _shown(text: pl.Expr) -> pl.Expr:
    """A value as SHOW prints it."""
    number = _number(text)
    size, us = ((number * pl.col(unit)).round().cast(pl.Int64) for unit in ("unit_bytes", "unit_us"))
    mode = number.cast(pl.Int64)
    octal = pl.concat_str([mode // 512, mode // 64 % 8, mode // 8 % 8, mode % 8])
    return pl.coalesce(
        _in_largest_unit(size, _BYTES),
        _in_largest_unit(us, _MICROSECONDS),
        # the current one is printed in octal, the others are not
        pl.when("is_mode").then(octal),
        text,
    )


def _in_largest_unit(amount: pl.Expr, units: Mapping[str, int]) -> pl.Expr:
    """As the server does: the largest unit of which it is a multiple; 0 and what is below has none."""
    return pl.coalesce(
        pl.when((amount > 0) & (amount % factor == 0)).then((amount // factor).cast(pl.String) + unit)
        for unit, factor in sorted(units.items(), key=lambda item: -item[1])
    )


def _masked(rows: pl.DataFrame) -> pl.DataFrame:
    *texts, said = masked(*(rows[name] for name in _TEXTS), "SET " + rows["name"] + " = 'x'")
    free = pl.col("value_type").is_null() | (pl.col("value_type") == "string")
    is_secret = rows.select(free & said.str.ends_with(f"'{HIDDEN}'")).to_series()
    return rows.with_columns(texts).with_columns(
        pl.when(is_secret & (pl.col(name) != "")).then(pl.lit(HIDDEN)).otherwise(name).alias(name) for name in _TEXTS
    )


FORMAT = as_format(
    "settings",
    7,
    Snapshot(
        table=SETTING,
        names={
            "boot_val": "boot_value",
            "reset_val": "reset_value",
            "pending_restart": "is_pending_restart",
            "vartype": "value_type",
            "min_val": "min_value",
            "max_val": "max_value",
        },
        needed=frozenset(("name", "setting", "unit", "source", "context")),
        filled=("name",),
        complete=_complete,
        also={},
    ),
)
