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

#: characters that are looked up; "duration: " are as many
_WIDTH = 10
#: characters by which literals are found; no literal is shorter
_BUCKET = 4
#: severities of records that may be of a second type: see ``MessageType.also``
FAILED = ("ERROR", "FATAL", "PANIC")


def codes_of(records: pl.DataFrame) -> pl.Series:
    """The place of each record's type in ``registry.message_types()``, null where no literal fits.

    Shape: one UInt8 per record. Of several literals that fit, the longest decides.
    """
    rows = records.select("severity", "backend_type", "message").with_row_index("row")
    found = pl.repeat(None, records.height, dtype=pl.UInt8, eager=True)
    programs = _programs()
    is_program = rows["backend_type"].is_in(programs) if programs else None
    if is_program is not None and is_program.any():
        program = rows["backend_type"].replace_strict(programs, default=None, return_dtype=pl.UInt8)
        found, rows = program, rows.filter(~is_program.fill_null(False))
    severities = rows["severity"].unique().to_list()
    for severity in severities:
        literals = _literals(severity)
        own = rows if len(severities) == 1 else rows.filter(pl.col("severity") == severity)
        if not literals:
            continue
        codes = _looked_up(own, literals)
        if own.height == records.height:
            return codes
        found = found.scatter(own["row"], codes)
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


def _looked_up(rows: pl.DataFrame, literals: dict[str, list[tuple[str, int]]]) -> pl.Series:
    keys = rows["message"].str.slice(0, _WIDTH)
    certain: dict[str, int] = {}
    in_doubt: dict[str, list[tuple[str, int]]] = {}
    for key in keys.unique().drop_nulls():
        fitting = [
            (literal, code)
            for literal, code in literals.get(key[:_BUCKET], ())
            if key.startswith(literal) or (len(key) == _WIDTH and literal.startswith(key))
        ]
        if not fitting:
            continue
        if len(fitting[0][0]) <= _WIDTH:  # the longest comes first, and the key holds it whole
            certain[key] = fitting[0][1]
        else:
            in_doubt[key] = fitting
    codes = keys.replace_strict(certain, default=None, return_dtype=pl.UInt8)
    if in_doubt:
        is_in_doubt = keys.is_in(list(in_doubt))
        tests = sorted({test for fitting in in_doubt.values() for test in fitting}, key=lambda test: -len(test[0]))
        message = pl.col("message")
        decided = rows.filter(is_in_doubt).select(
            pl.coalesce(
                pl.when(message.str.starts_with(literal)).then(pl.lit(code, pl.UInt8)) for literal, code in tests
            )
        )
        codes = codes.scatter(is_in_doubt.arg_true(), decided.to_series())
    return codes


@cache
def _programs() -> dict[str, int]:
    """Types that read all that one program writes, by its backend_type."""
    types = registry.message_types().values()
    return {message.program: code for code, message in enumerate(types) if message.program is not None}


@cache
def _literals(severity: str) -> dict[str, list[tuple[str, int]]]:
    """Literals of the types that read messages of that severity, by their first characters, the longest first."""
    found = defaultdict(list)
    for code, message in enumerate(registry.message_types().values()):
        if severity in message.severities and reads_by_text(message):
            for literal in message.starts_with:
                found[literal[:_BUCKET]].append((literal, code))
    return {start: sorted(literals, key=lambda item: -len(item[0])) for start, literals in found.items()}


def reads_by_text(message: MessageType) -> bool:
    """Whether a type's own literals decide which records it reads."""
    return bool(message.starts_with) and message.within is None and message.program is None
