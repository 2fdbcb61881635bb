"""Queries suddenly slow? Episodes found without being told when, and what goes together with slow executions."""

from __future__ import annotations

from typing import Any

import polars as pl

from pgtrace.analysis import Causes, verdicts
from pgtrace.analysis.phrases import phrase
from pgtrace.doctor.answer import CANNOT_TELL, NO, YES, Answer, Evidence
from pgtrace.doctor.logged import Logged
from pgtrace.doctor.scope import Scope, within

_KEY, _QUESTION = "suddenly_slow", "Queries suddenly slow?"
#: an episode matters if its 95th percentile is so many times the usual, and so many seconds are lost per second of it
_TIMES_P95, _LOST_PER_S = 2.0, 0.02
#: a cause matters if so many times as many executions are slow, or they take so many times as long
_LEAST_RATIO, _LEAST_TIMES = 1.5, 1.5
#: waits for locks that lose less than this together are everyday life; so are a tenth of a second of anything, and
#: a third of a second of what merely coincides
_LEAST_WAIT_S, _LEAST_S, _LEAST_COINCIDENCE_S = 1.0, 0.1, 0.33
#: with fewer executions nothing can be said
_FEWEST = 50
#: cancelled by statement_timeout within a minute
_TIMEOUTS = 5
_MOST_SHOWN = 3
_NEXT = {
    "lock wait": "pgtrace query blockers and lock_waits say who held the locks; keep the holders' transactions short",
    "checkpoint": "see the settings below for checkpoints; pgtrace query checkpoints has each one",
    "vacuum": "pgtrace query autovacuum_latency and autovacuum_pressure; see the settings below",
    "temporary files": "pgtrace query work_mem_needed says how much memory each query would need",
    "connection storm": "a connection pooler keeps sessions open; pgtrace query connections_by_minute has the rates",
    "heavy query": "pgtrace query slow_queries has its text; run it at another time, on a standby, or tune it",
    "WAL burst": "pgtrace query wal_bursts and relations_written_by_query say what wrote",
}


def suddenly_slow(scope: Scope, causes: Causes, episodes: pl.DataFrame, logged: Logged) -> Answer:
    """Answer from the causes and episodes of this server."""
    statements = causes.facts["statements"]
    timeouts = _timeouts(scope)
    found = [row for row in causes.blamed.iter_rows(named=True) if _is_material(row)]
    held = _episodes(episodes)
    evidence = [*(_of_cause(row) for row in found[:_MOST_SHOWN]), *(_of_episode(row) for row in held[:_MOST_SHOWN])]
    if timeouts["most"] >= _TIMEOUTS:
        evidence.append(
            Evidence(
                f"statement_timeout cancelled {timeouts['cancelled']:,} statements, {timeouts['most']:,} in a minute",
                {"cancelled": timeouts["cancelled"], "most_per_minute": timeouts["most"]},
            )
        )
    missing = _would_tell(causes)
    if evidence:
        top = found[0] if found else None
        return Answer(
            _KEY,
            _QUESTION,
            YES,
            _summary(top, held, timeouts),
            basis="measured",
            process=top["process"] if top else None,
            kind=top["kind"] if top else None,
            evidence=tuple(evidence),
            next_step=_next_step(top, held),
            would_tell=missing,
        )
    if statements >= _FEWEST:
        return _no(causes, statements, missing)
    threshold = scope.known.get("log_min_duration_statement")
    if threshold is not None and threshold.ms:
        text = f"nothing took longer than log_min_duration_statement ({threshold.text}, {threshold.basis})"
        if statements == 0 and scope.span_s > 0:
            return Answer(_KEY, _QUESTION, NO, text, basis="measured", would_tell=missing)
    what = "no statement" if statements == 0 else f"only {statements:,} statements"
    return Answer(
        _KEY,
        _QUESTION,
        CANNOT_TELL,
        f"{what} with a duration in this log",
        would_tell=missing or ("log_min_duration_statement",),
    )


def _no(causes: Causes, statements: int, missing: tuple[str, ...]) -> Answer:
    hidden = causes.facts["logged_from_ms"] or 0
    note = f"; those below {hidden:g} ms are not logged" if hidden else ""
    text = f"{statements:,} executions, none of them in an episode that matters{note}"
    numbers = {"statements": statements, "slow_s": causes.facts["slow_s"], "logged_from_ms": hidden}
    evidence = (
        Evidence(f"{causes.facts['slow_s']:.1f} s beyond what nine in ten of each query's executions take", numbers),
    )
    return Answer(_KEY, _QUESTION, NO, text, basis="measured", evidence=evidence, would_tell=missing)


def _is_material(row: dict[str, Any]) -> bool:
    if row["verdict"] == verdicts.RECORDED:
        return (row["excess_s"] or 0) >= _LEAST_WAIT_S
    least = _LEAST_COINCIDENCE_S if row["certainty"].startswith("coincides") else _LEAST_S
    return (row["excess_s"] or 0) >= least and (
        (row["slow_ratio"] or 0) >= _LEAST_RATIO or (row["times_slower"] or 0) >= _LEAST_TIMES
    )


def _episodes(episodes: pl.DataFrame) -> list[dict[str, Any]]:
    """Those that matter, of all queries together first."""
    lasted_s = pl.col("ended_at").sub(pl.col("started_at")).dt.total_microseconds() / 1e6
    return (
        episodes.filter(
            pl.col("p95_ms") >= _TIMES_P95 * pl.col("usual_p95_ms"), pl.col("excess_s") >= _LOST_PER_S * lasted_s
        )
        .sort(pl.col("query_text") != "(all)", "excess_s", descending=[False, True], nulls_last=True)
        .to_dicts()
    )


def _of_cause(row: dict[str, Any]) -> Evidence:
    subject = f" ({_short(row['subject'])})" if row["subject"] and row["verdict"] != verdicts.RECORDED else ""
    text = f"{row['process']}, {row['kind']}{subject}, {row['certainty']}: {row['evidence']}"
    names = ("times_slower", "slow_ratio", "excess_s", "excess_pct", "events", "q_value")
    return Evidence(text, {name: row[name] for name in names})


def _of_episode(row: dict[str, Any]) -> Evidence:
    what = "all queries" if row["query_text"] == "(all)" else f"'{_short(row['query_text'] or 'statement not logged')}'"
    text = (
        f"from {row['started_at']:%Y-%m-%d %H:%M:%S} to {row['ended_at']:%H:%M:%S} {what}: 95 % within "
        f"{row['p95_ms']:,.1f} ms, usually {row['usual_p95_ms']:,.1f} ms; {row['excess_s']:,.1f} s lost"
    )
    names = ("p95_ms", "usual_p95_ms", "excess_s", "calls", "slow_calls")
    times = {name: f"{row[name]:%Y-%m-%dT%H:%M:%S}Z" for name in ("started_at", "ended_at")}
    return Evidence(text, {**times, "fingerprint": row["fingerprint"], **{name: row[name] for name in names}})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"


def _summary(top: dict[str, Any] | None, held: list[dict[str, Any]], timeouts: dict[str, Any]) -> str:
    if top is not None and top["verdict"] == verdicts.RECORDED:
        return f"waits for locks took {top['excess_s']:,.1f} s, as the server recorded"
    if top is not None:
        sure = "coincide with" if top["certainty"].startswith("coincides") else "are associated with"
        other = f", or {phrase(top['not_separable_from'])}" if top["not_separable_from"] else ""
        return f"slow executions {sure} {phrase(top['kind'])}{other} ({top['excess_s']:,.1f} s)"
    if held:
        return f"slow from {held[0]['started_at']:%Y-%m-%d %H:%M:%S} on, with no process that this log could blame"
    return f"{timeouts['cancelled']:,} statements ran into statement_timeout"


def _next_step(top: dict[str, Any] | None, held: list[dict[str, Any]]) -> str:
    if top is not None:
        family = top["kind"].removesuffix(" series").split(",")[0]
        family = "checkpoint" if family.startswith(("checkpoint", "since redo")) else family
        return f"{_NEXT.get(family, 'pgtrace why shows all that was compared')}; pgtrace why has the evidence"
    if held:
        return f"pgtrace why --at '{held[0]['started_at']:%Y-%m-%d %H:%M:%S}' says what was different"
    return "pgtrace query cancellations shows them"


def _timeouts(scope: Scope) -> dict[str, Any]:
    return scope.row(
        f"""
        select coalesce(max(n), 0) as most, cast(coalesce(sum(n), 0) as bigint) as cancelled
        from (
            select count(*) as n
            from error
            where cancelled_by = 'statement timeout' and {within("logged_at")}
            group by date_trunc('minute', logged_at)
        )
        """
    )


def _would_tell(causes: Causes) -> tuple[str, ...]:
    """What would show more about slow queries."""
    facts = causes.facts
    is_hidden = not facts["statements"] or (facts["logged_from_ms"] or 0) > 0
    is_coarse = (facts["resolution_ms"] or 0) >= 1000
    settings = {"log_min_duration_statement": is_hidden, "log_line_prefix": is_coarse}
    return tuple(setting for setting, would in settings.items() if would)
