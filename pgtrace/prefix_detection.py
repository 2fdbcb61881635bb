"""Which log_line_prefix wrote a stderr log: one that the log names, a well-known one, or one inferred from its lines.

Limitations: what the sample does not show cannot be known. A log with messages of background processes only does not
tell what is behind ``%q``, and two texts that look alike (user and database of the same name) may be swapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgtrace.errors import UsageError
from pgtrace.prefix import BACKEND_TYPE, COMMAND_TAG, FOLLOW_UPS, SEPARATOR, SEVERITIES, compile_prefix
from pgtrace.prefix_inference import infer_prefix
from pgtrace.prefix_roles import Line, says_who

if TYPE_CHECKING:
    import polars as pl

#: Prefixes in use; where several fit equally well, the first one is taken.
KNOWN_PREFIXES = (
    "%m [%p] ",  # PostgreSQL since version 10; CloudNativePG, Bitnami
    "%m [%p] %q%u@%d ",  # Debian, Ubuntu
    "%m [%p] %q%u@%d/%a ",  # PostgreSQL's documentation
    "%t ",
    "%m ",
    "< %m > ",  # Red Hat's packages until 9.6
    "<%m>",
    "%t [%p]: ",  # pgBadger's documentation, and with more of it
    "%t [%p]: [%l-1] ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: user=%u,db=%d ",
    "%t [%p]: [%l-1] db=%d,user=%u ",
    "%t [%p]: db=%d,user=%u,app=%a,client=%h ",
    "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: user=%u,db=%d,app=%a,client=%h ",
    "user=%u,db=%d,app=%a,client=%h ",  # syslog has the time and the pid
    "user=%u,db=%d ",
    "db=%d,user=%u ",
    "%t:%r:%u@%d:[%p]:",  # Amazon RDS and Aurora
    "%t:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a",
    "%m:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",
    "%t-%c-",  # Azure
    "%t-%c-user=%u,db=%d,app=%a,client=%h-",
    "%m [%p]: [%l-1] db=%d,user=%u ",  # Google Cloud SQL
    "%m [%p][%v] : [%l-1] %q[app=%a] ",  # Crunchy Bridge and what else pganalyze knows
    "%t [%p-%l] %q%u@%d ",
    "%m [%p] %q[user=%u,db=%d,app=%a] ",
    "%m [%p] %q[user=%u,db=%d,app=%a,host=%h] ",
    "%m [%p][%b][%v][%x] %q[user=%u,db=%d,app=%a] ",
    "%t [%p]: [%l-1] user=%u,db=%d - PG-%e ",
    "%t [%p]: [%l-1] [trx_id=%x] user=%u,db=%d ",
    "[%p]: [%l-1] db=%d,user=%u ",
    "%m %r %u %a [%c] [%p] ",
    "%p-%s-%c-%l-%h-%u-%d-%m ",
    "pid=%p,user=%u,db=%d,app=%a,client=%h ",
    "[user=%u,db=%d,app=%a] ",
    "%t [%p] %q[user=%u,db=%d,app=%a] ",
    " sql_error_code = %e ",  # Heroku
    "%t [%p]: [%l-1] %c %x %d %u %a %h ",  # Zalando's Spilo, Patroni
    "%m [%p]: [%l-1] %c %x %d %u %a %h ",
    "%t [%p] %u@%d/%h ",  # EDB
    "%t [%p] %q%u@%d ",
    "%t [%p] ",
    "%m [%p] %u@%d ",
    "%m [%p] %u@%d %r ",
    "%m [%p] %q%a ",
    "%m [%p] %a ",
    "%m %d %u [%p]",  # SUSE
    "%m %u %d [%p]: ",
    "%t %d %u ",
    "%m %u %d: ",  # pgAudit's documentation
    "%t %u@%d %r ",
    "%m [%r] [%p]: [%l-1] user=%u,db=%d,host=%h ",
    "%t [%p]: user=%u db=%d app=%a client=%h ",
    "<%t %r %a %d %u %p %c %i>",
    "<%u@%r%%%d>",
    "%m|%u|%d|%c|",
    "%m|%r|%u|%d|%a|%p|%e|",
    "%t|%u|%d|%r|%p|",
    "%n %p %i %c ",
    "%t:%r:%u@%d:[%p]: [%l-1] app=%a,client=%h,xid=%x,vxid=%v,qid=%Q,sqlstate=%e ",
    "",
)

_LEVELS = sorted((*SEVERITIES, *FOLLOW_UPS), key=len, reverse=True)
_LINE = re.compile(rf"(?m)^(?!\t)([^\n]*?(?:{'|'.join(_LEVELS)})){SEPARATOR}([^\n]*)")
#: a reload says `parameter "log_line_prefix" changed to "…"`, a logged ALTER SYSTEM quotes it
_NAMED = re.compile(r"""log_line_prefix"? (?:changed to|=|to) (?:"([^"\n]*)"|'([^'\n]*)')""", re.IGNORECASE)
_MAX_HEAD = 1000
#: share of the lines with a level that a prefix must read to be taken for theirs
_AT_LEAST = 0.5
#: lines in file order, and lines of other shapes behind them, that decide between prefixes
_FIRST, _OTHERS = 150, 90

_NAME_FIELDS = {"user_name": "u", "database_name": "d"}
_FREE_TEXT = ("application_name", "user_name", "database_name", "client_host", "backend_type", "command_tag")
_HOST = re.compile(r"\[local\]|\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]+(%\w+)?|[A-Za-z][\w-]*(\.[\w-]+)+")
_CERTAIN = {"client_host": _HOST, "backend_type": re.compile(BACKEND_TYPE), "command_tag": re.compile(COMMAND_TAG)}


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a prefix reads the sample; the larger the better, from the first to the last field."""

    share: float
    contradictions: int
    free_characters: int
    fields: int
    prefix: str

    @property
    def rank(self) -> tuple[float, int, int]:
        return (round(self.share, 2), -self.contradictions, -self.free_characters)


def detect_prefix(head: str | bytes) -> str | None:
    """The log_line_prefix that reads the first bytes of a stderr log (up to 256 kB).

    None where no line looks like one of PostgreSQL's (``…LOG:  …``), or where no prefix reads at least half of those
    that do. It need not read all of them, as after a change of the setting: see ``match_share``.
    """
    text = _as_text(head)
    lines = _lines(text)
    if not lines:
        return None
    sample = _sample(lines)
    named = dict.fromkeys(prefix for prefix in _named(text) if _is_valid(prefix))
    fits = _fits([*named, *KNOWN_PREFIXES], sample)
    best = max(fits, key=lambda fit: fit.rank)
    # the text may be one that a statement only mentions: it must tell as much as what the lines show
    announced = [
        fit for fit in fits if fit.prefix in named and _reads_all(fit) and _tells(fit.prefix) >= _tells(best.prefix)
    ]
    if announced:
        best = announced[-1]
    elif not _reads_all(best) or _swallows(best, sample):
        inferred = infer_prefix(sample)
        other = _fits([inferred], sample)[0] if inferred is not None and _is_valid(inferred) else best
        # that it splits names further is no evidence against a prefix in use; that it finds more fields is
        if other.fields > best.fields or other.rank[:2] > best.rank[:2]:
            best = max(best, other, key=lambda fit: fit.rank)
    return best.prefix if _share(best.prefix, _series(lines)) >= _AT_LEAST else None


def _tells(prefix: str) -> int:
    """How much of what every record needs a prefix has: a time, a process."""
    fields = set(compile_prefix(prefix).fields)
    return bool(fields & {"time", "epoch"}) + bool(fields & {"pid", "session_id"})


def _reads_all(fit: _Fit) -> bool:
    return fit.share == 1 and not fit.contradictions


def match_share(prefix: str, head: str | bytes) -> float:
    """The share, 0 to 1, of the lines with a level whose head ``prefix`` reads; 0 where there is no such line.

    Raises UsageError where the prefix is not one.
    """
    lines = _lines(_as_text(head))
    return _share(prefix, _series(lines)) if lines else 0.0


def _as_text(head: str | bytes) -> str:
    text = head if isinstance(head, str) else head.decode(errors="replace")
    text = text.replace("\r\n", "\n")
    return text[: text.rfind("\n") + 1] or text  # the last line may be cut


def _lines(text: str) -> list[Line]:
    return [Line(*found.groups()) for found in _LINE.finditer(text) if found.end(1) - found.start(1) <= _MAX_HEAD]


def _sample(lines: list[Line]) -> list[Line]:
    """The first lines, then those that name user and database, then one of each further shape of head."""
    first, others = lines[:_FIRST], lines[_FIRST:]
    seen = {_shape(line) for line in first}
    telling = [line for line in others if says_who(line.text)][: _OTHERS // 2]
    shapes: dict[str, Line] = {}
    for line in others:
        shape = _shape(line)
        if shape not in seen:
            shapes.setdefault(shape, line)
    step = max(1, len(shapes) // (_OTHERS // 2))
    return [*first, *telling, *list(shapes.values())[::step]]


def _shape(line: Line) -> str:
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "0", line.head)


def _named(text: str) -> Iterator[str]:
    for found in _NAMED.finditer(text):
        yield found[1] if found[1] is not None else found[2]


def _is_valid(prefix: str) -> bool:
    try:
        compile_prefix(prefix)
    except UsageError:
        return False
    return True


def _series(lines: Sequence[Line]) -> pl.Series:
    import polars as pl

    return pl.Series("head", [line.head for line in lines], pl.String())


def _share(prefix: str, heads: pl.Series) -> float:
    # Rust's regular expressions take linear time: names with many blanks cannot make this slow
    return int(heads.str.contains(compile_prefix(prefix).pattern).sum()) / heads.len()


def _fits(prefixes: Sequence[str], lines: Sequence[Line]) -> list[_Fit]:
    """The prefixes that read most lines, with what speaks for and against each of them."""
    heads = _series(lines)
    shares = [_share(prefix, heads) for prefix in prefixes]
    most = max(shares)
    return [
        _fit(prefix, share, heads, lines)
        for prefix, share in zip(prefixes, shares, strict=True)
        if round(share, 2) == round(most, 2)
    ]


def _fit(prefix: str, share: float, heads: pl.Series, lines: Sequence[Line]) -> _Fit:
    read = _read(prefix, heads)
    agreed = sum(_agrees(row, line.text) for row, line in zip(read, lines, strict=True))
    contradictions = max(0, -agreed) + sum(map(_is_impossible, read)) + _line_numbers_fall(read)
    free = sum(_free_characters(name, row[name]) for row in read for name in _FREE_TEXT if row.get(name))
    return _Fit(share, contradictions, free, len(compile_prefix(prefix).fields), prefix)


def _read(prefix: str, heads: pl.Series) -> list[dict[str, str | None]]:
    groups = heads.str.extract_groups(compile_prefix(prefix).pattern)
    rows: list[dict[str, str | None]] = groups.struct.unnest().to_dicts()
    return rows


def _agrees(row: dict[str, str | None], text: str) -> int:
    """1 where the fields have the names that the message says, -1 where they have others."""
    who = says_who(text)
    said = [(row[field], who[key]) for field, key in _NAME_FIELDS.items() if key in who and row.get(field)]
    return 0 if not said else 1 if all(value in (name, "[unknown]") for value, name in said) else -1


def _is_impossible(row: dict[str, str | None]) -> bool:
    """Whether a field cannot be what it is taken for."""
    session, pid, xid, query_id = (row.get(field) for field in ("session_id", "pid", "xid", "query_id"))
    if session and pid and int(session.split(".")[1], 16) != int(pid):
        return True
    return bool((xid and int(xid) >= 2**32) or (query_id and 0 < abs(int(query_id)) < 2**16))


def _line_numbers_fall(rows: Sequence[dict[str, str | None]]) -> int:
    """How often %l does not grow within a process."""
    last: dict[str, int] = {}
    falls = 0
    for row in rows:
        process, number = row.get("session_id") or row.get("pid"), row.get("session_line_no")
        if process and number:
            falls += int(number) <= last.get(process, 0)
            last[process] = int(number)
    return falls


def _free_characters(name: str, value: str | None) -> int:
    """Characters that nothing vouches for: a text escape takes anything."""
    if value is None or value == "[unknown]" or (name in _CERTAIN and _CERTAIN[name].fullmatch(value)):
        return 0
    return len(value)


def _swallows(fit: _Fit, lines: Sequence[Line]) -> bool:
    """Whether most values of a text hold separators, as if they were several fields."""
    rows = _read(fit.prefix, _series(lines))
    for name in _FREE_TEXT:
        values = [value for row in rows if (value := row.get(name)) and value != "[unknown]"]
        odd = [value for value in values if _free_characters(name, value) and re.search(r"[^\w.\-]", value)]
        if len(odd) > 0.4 * len(values):
            return True
    return False
