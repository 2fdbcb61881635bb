"""What log_line_prefix should have that it has not; csvlog and jsonlog carry everything anyway."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgtrace.doctor.answer import alter_system
from pgtrace.doctor.scope import Scope

#: escapes, the version that has them, what is lost without them, and about how many bytes they take
_WANTED = (
    ("m", 0, "times to the millisecond (%t has seconds): effects of what lasts less than two seconds", 27),
    ("p", 0, "the process: nothing can be put together without it", 7),
    ("u", 0, "the role", 8),
    ("d", 0, "the database", 8),
    ("a", 0, "the application: which service, which pool", 12),
    ("c", 0, "the session, also where process ids are used again", 14),
    ("l", 0, "the order of a session's messages, and what is missing", 4),
    ("x", 0, "the transaction id: which statement wrote which WAL", 7),
    ("Q", 14, "the query id: the row of pg_stat_statements (compute_query_id)", 20),
)
#: without these answers are missing; without the others they are poorer
_NEEDED = "mpuda"
#: what is kept where it is there; %t, %n and %s are times that %m and %c have too
_KEPT = "hrLbPive"
_ESCAPE = re.compile(r"%-?\d*([a-zA-Z])")
_FORMATS_WITH_PREFIX = ("stderr", "syslog")


@dataclass(frozen=True, slots=True)
class PrefixAdvice:
    """``missing`` escapes with what is lost without them; ``commands`` is empty where nothing is missing.

    ``prefix`` is the one that a snapshot or a change tells, else the one of the newest source that has one.
    ``is_poor``: answers are missing, not only details.
    """

    prefix: str
    missing: tuple[tuple[str, str], ...]
    is_poor: bool
    suggested: str
    commands: tuple[str, ...]
    cost: str
    mb_per_day: float


def prefix_advice(scope: Scope) -> PrefixAdvice | None:
    """Look at the prefix of the newest source of a server; None where no source has one."""
    rows = scope.rows(
        f"""
        select prefix
        from source
        where server = $server and prefix is not null and log_format in {_FORMATS_WITH_PREFIX}
        order by last_at desc nulls last, path
        limit 1
        """
    )
    if not rows:
        return None
    known = scope.known.get("log_line_prefix")
    prefix = rows[0]["prefix"] if known is None else known.text
    has = _ESCAPE.findall(prefix)
    version = scope.known.version or 13
    # %n is a time in milliseconds as well
    lacking = [
        item for item in _WANTED if item[0] not in has and version >= item[1] and not (item[0] == "m" and "n" in has)
    ]
    suggested = _suggested(has, version)
    commands = [alter_system("log_line_prefix", suggested)] if lacking else []
    if any(item[0] == "Q" for item in lacking):
        commands.append(alter_system("compute_query_id", "on"))
    more = sum(item[3] for item in lacking)
    records = scope.row("select coalesce(sum(records), 0) as n from source where server = $server")["n"]
    per_day = float(records) * more * 86_400 / max(scope.span_s, 1.0) / 1024**2
    return PrefixAdvice(
        prefix,
        tuple((f"%{letter}", meaning) for letter, _, meaning, _ in lacking),
        any(item[0] in _NEEDED for item in lacking),
        suggested,
        tuple(commands),
        f"about {more} bytes a record, {per_day:,.1f} MB a day at this log's rate" if lacking else "nothing is missing",
        per_day if lacking else 0.0,
    )


def _suggested(has: list[str], version: int) -> str:
    """All that is wanted, and what is there already."""
    query_id = " %Q" if version >= 14 else ""
    more = [letter for letter in dict.fromkeys(has) if letter in _KEPT]
    return f"%m [%p] %c/%l %x{query_id} %q%u@%d/%a " + "".join(f"%{letter} " for letter in more)
