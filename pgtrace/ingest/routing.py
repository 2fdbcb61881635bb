"""Which message type reads a record: by the first characters of its message, from literals alone.

Types have some two hundred literals between them, and a chunk has some ten thousand records: testing every literal on
every record would cost more than reading them. So the distinct first characters of the messages are looked up once;
only where several literals begin with them are the literals tested, on those records.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import polars as pl

from pgtrace import registry
from pgtrace.message import MessageType

#: characters that are looked up, one after the other: "duration: " has 10, and no literal as many as the last
_WIDTHS = (10, 30, 200)
#: records for which the first step is left out
_FEW = 5_000
#: between the beginning of a message and the severity in a key
_END = "\0"
#: characters by which literals are found; no literal is shorter
_BUCKET = 4
#: severities of records that may be of a second type: see ``MessageType.also``
FAILED = ("ERROR", "FATAL", "PANIC")


def codes_of(records: pl.DataFrame) -> pl.Series:
    """The place of each record's type in ``registry.message_types()``, null where no literal fits.

    Shape: one UInt8 per record. Of several literals that fit, the longest decides.
    """
    rows = records.select("severity", "backend_type", "message")
    is_log = rows["severity"].eq_missing("LOG")
    found = pl.repeat(None, records.height, dtype=pl.UInt8, eager=True)
    for where, severity in ((is_log.arg_true(), "LOG"), ((~is_log).arg_true(), None)):
        if where.len():
            own = rows if where.len() == rows.height else rows[where]
            found = found.scatter(where, _looked_up(own, severity, 0 if where.len() > _FEW else 1))
    known = programs()
    if rows["backend_type"].is_in(list(known)).any():
        program = rows["backend_type"].replace_strict(known, default=None, return_dtype=pl.UInt8)
        found = program.zip_with(program.is_not_null(), found)
    return found


def also_of(records: pl.DataFrame, codes: pl.Series) -> dict[int, pl.Series]:
    """Which records each type reads besides those that ``codes`` give it (see ``MessageType.also``), by its code.

    Shape: one boolean per record, and no entry for a type that reads none.
    """
    asking = {code: type_.also() for code, type_ in enumerate(registry.message_types().values()) if type_.also}
    where = (codes.is_null() | records["severity"].is_in(FAILED).fill_null(False)).arg_true()
    if not asking or where.is_empty():
        return {}
    asked = records.select("severity", "backend_type", "message", "context")
    if where.len() < records.height:
        asked = asked.gather(where)
    fits = asked.select(expression.fill_null(False).alias(str(code)) for code, expression in asking.items())
    places = pl.int_range(records.height, eager=True)
    return {code: places.is_in(where.filter(fits[str(code)]).implode()) for code in asking if fits[str(code)].any()}


def _looked_up(rows: pl.DataFrame, severity: str | None, step: int) -> pl.Series:
    """Codes by severity (null: that of the row) and so many first characters; by more where these do not decide."""
    width = _WIDTHS[step]
    start = pl.col("message").str.slice(0, width)
    keys = rows.select(start if severity is not None else pl.concat_str(start, pl.lit(_END), "severity")).to_series()
    certain: dict[str, int] = {}
    in_doubt: list[str] = []
    for key in keys.unique().drop_nulls().to_list():
        said, _, of_row = (key, "", severity) if severity is not None else key.rpartition(_END)
        # the longest literal comes first
        for literal, code in _literals(of_row).get(said[:_BUCKET], ()):
            if said.startswith(literal):
                certain[key] = code
                break
            if len(said) == width and literal.startswith(said):
                in_doubt.append(key)
                break
    codes = keys.replace_strict(certain, default=None, return_dtype=pl.UInt8)
    if in_doubt:
        where = keys.is_in(in_doubt).arg_true()
        codes = codes.scatter(where, _looked_up(rows[where], severity, step + 1))
    return codes


@cache
def programs() -> dict[str, int]:
    """Types that read all that one program writes, by its backend_type."""
    types = registry.message_types().values()
    return {message.program: code for code, message in enumerate(types) if message.program is not None}


@cache
def _literals(severity: str) -> dict[str, list[tuple[str, int]]]:
    """Literals of the types that read messages of that severity, by their first characters, the longest first."""
    types = enumerate(registry.message_types().values())
    tests = [
        (literal, code)
        for code, message in types
        if severity in message.severities and reads_by_text(message)
        for literal in message.starts_with
    ]
    found = defaultdict(list)
    for literal, code in sorted(tests, key=lambda test: -len(test[0])):
        found[literal[:_BUCKET]].append((literal, code))
    return dict(found)


def reads_by_text(message: MessageType) -> bool:
    """Whether a type's own literals decide which records it reads."""
    return bool(message.starts_with) and message.within is None and message.program is None
