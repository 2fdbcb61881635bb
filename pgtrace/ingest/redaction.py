"""``--redact``: what may hold constants, parameter values or rows of the user's data is left out.

Columns named in ``VALUE_COLUMNS`` become null, whichever table has them. Messages keep their wording; what they quote
becomes ``*****`` where it may be a value. Fingerprints and normalised SQL are made before.

Limitations: a name that is quoted cannot be told from a value, and is left out with it. A value that a message of the
server prints without quotes stays (numbers, as in ``bit string length 3``).
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from pgtrace.schema import VALUE_COLUMNS
from pgtrace.secretrules import HIDDEN
from pgtrace.sqlmask import mask

#: begins what stands for a text until the lines of an execution are joined, which compares them; in no SQL
_STAND_IN = "\x1a"
#: what is kept of a message that logs a statement
_LABEL = r"(?s)^(duration: [0-9.]+ ms(?:  [^:]*:)?|[^:]*:)"
_RAISED = r"\bat (?:RAISE|ASSERT)\b"
#: the first two end with the last quote, as a value may hold quotes itself
_QUOTED = (
    (r'(?s)(: |at or near )".*"', f'${{1}}"{HIDDEN}"'),
    (r'(?s)^value ".*" ', f'value "{HIDDEN}" '),
    (r'"[^"]*("|\z)', f'"{HIDDEN}${{1}}'),
    (r"(^|[^A-Za-z])'[^']*('|\z)", f"${{1}}'{HIDDEN}${{2}}"),
)


def redact(tables: dict[str, pl.DataFrame], joined_later: Collection[str]) -> None:
    """Leave values out of ``tables``, which is changed in place and has ``record``.

    Tables ``joined_later`` keep something in place of each text, the same for statements that differ only in constants.
    """
    messages = tables["record"].select("line_no", _message().alias("message"))
    for name, frame in tables.items():
        if "message" in frame.columns:
            own = frame.drop("message").join(messages, on="line_no", how="left", maintain_order="left")
            frame = own.select(frame.columns)
        tables[name] = _with_stand_ins(frame) if name in joined_later else without_values(frame)


def without_values(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with null in every column that may hold values."""
    columns = [name for name in frame.columns if name in VALUE_COLUMNS]
    return frame.with_columns(pl.lit(None, frame.schema[name]).alias(name) for name in columns)


def after_join(frame: pl.DataFrame, is_redacted: bool, waiting: pl.DataFrame | None) -> pl.DataFrame:
    """Rows as they are stored: null for values, and for what stands for a value that an earlier run left out."""
    if is_redacted:
        return without_values(frame)
    if waiting is None or not any(waiting[name].str.starts_with(_STAND_IN).any() for name in _texts_of(waiting)):
        return frame
    return frame.with_columns(
        pl.when(~pl.col(name).str.starts_with(_STAND_IN)).then(pl.col(name)).alias(name) for name in _texts_of(frame)
    )


def _with_stand_ins(frame: pl.DataFrame) -> pl.DataFrame:
    texts = _texts_of(frame)
    rest = [name for name in frame.columns if name in VALUE_COLUMNS and name not in texts]
    shapes = frame.select(mask(frame[name].str.strip_chars()).alias(name) for name in texts)
    return frame.with_columns(
        shapes.select(
            pl.when(pl.col(name).is_not_null())
            .then(pl.lit(_STAND_IN) + pl.col(name).hash().cast(pl.String))
            .alias(name)
            for name in texts
        )
    ).with_columns(pl.lit(None, frame.schema[name]).alias(name) for name in rest)


def _texts_of(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name in VALUE_COLUMNS and frame.schema[name] == pl.String]


def _message() -> pl.Expr:
    """The message of a record without values."""
    message = pl.col("message")
    quoted = message
    for pattern, replacement in _QUOTED:
        quoted = quoted.str.replace_all(pattern, replacement)
    is_raised = (pl.col("sqlstate") == "P0001") | pl.col("context").str.contains(_RAISED)
    is_process = (pl.col("backend_type") != "client backend") | (
        pl.col("backend_type").is_null() & pl.col("user_name").is_null()
    )
    is_known = (pl.col("severity") == "LOG") & (pl.col("kind").is_not_null() | is_process)
    # a plan has the statement in it, and is another table's
    logs_sql = (pl.col("kind") == "statement") | message.str.starts_with("duration: ")
    return (
        pl.when(logs_sql)
        .then(message.str.extract(_LABEL))
        .when(is_raised)
        .then(pl.lit(HIDDEN))
        .when(is_known)
        .then(message)
        .otherwise(quoted)
    )
