"""High CPU? What processes say they used; else executions at work at once, and connections that come and go."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgtrace.analysis import Causes
from pgtrace.doctor.answer import CANNOT_TELL, NO, YES, Answer, Evidence
from pgtrace.doctor.logged import Logged
from pgtrace.doctor.scope import Scope, within
from pgtrace.doctor.spikes import Bins, Spikes, Values, find_spikes, stretch

_KEY, _QUESTION = "high_cpu", "High CPU?"
#: so many processors more than usual, on average over a step, are a spike, and so many seconds of CPU in all of them
_LEAST_CORES, _LEAST_CPU_S, _TIMES = 0.5, 5.0, 2.0
#: so many executions more than usual at work at once, for so many seconds of executions
_LEAST_ACTIVE, _LEAST_ACTIVE_S = 2.0, 15.0
#: connections a second, and in all; each costs a new process and a login, some milliseconds of CPU
_LEAST_CONNECTIONS, _FEWEST_CONNECTIONS, _TIMES_CONNECTIONS = 50.0, 250.0, 5.0
#: JIT that takes this share of the time of the plans that were logged, and so many seconds
_JIT_PCT, _JIT_S = 20.0, 5.0
_MOST_SHOWN = 3


def high_cpu(scope: Scope, bins: Bins, timeline: list[dict[str, Any]], causes: Causes, logged: Logged) -> Answer:
    """Answer from what was measured, and where that is silent from what was at work at once."""
    evidence: list[tuple[str, str, str, Evidence]] = [
        *(("measured", *item) for item in _measured(bins, timeline)),
        *(("inferred", *item) for item in (*_at_work(scope, bins), *_connections(scope, bins), *_jit(scope))),
    ]
    missing = () if logged.has("log_statement_stats") else ("log_statement_stats",)
    if evidence:
        basis, process, kind, first = evidence[0]
        return Answer(
            _KEY,
            _QUESTION,
            YES,
            first.text + ("" if basis == "measured" else "; the log does not say how many processors there are"),
            basis=basis,
            process=process,
            kind=kind,
            evidence=tuple(item for _, _, _, item in evidence[: 2 * _MOST_SHOWN]),
            next_step=_NEXT[kind],
            would_tell=missing,
        )
    whole = causes.facts["statements"] > 0 and not causes.facts["logged_from_ms"]
    if whole or logged.rows["log_statement_stats"]:
        most = max(_active(scope, bins), default=0.0)
        text = (
            f"at most {most:.1f} executions were on the CPU or at the disk at once over {bins.step_s:g} s, and no "
            "process used more than usual"
        )
        numbers = {"active_max": most, "step_s": bins.step_s}
        return Answer(
            _KEY,
            _QUESTION,
            NO,
            text,
            basis="measured" if logged.rows["log_statement_stats"] else "inferred",
            evidence=(Evidence(text, numbers),),
            would_tell=missing,
        )
    hidden = causes.facts["logged_from_ms"]
    why = f"executions below {hidden:g} ms are not logged" if hidden else "no statement is logged with its duration"
    return Answer(_KEY, _QUESTION, CANNOT_TELL, f"{why}, and nothing says its CPU", would_tell=_WOULD_TELL)


_WOULD_TELL = ("log_statement_stats", "log_min_duration_statement")
_NEXT = {
    "statements": "pgtrace query cpu_by_process names the statements and tables",
    "vacuum": "pgtrace query cpu_by_process and autovacuum_runs name the tables",
    "analyze": "pgtrace query cpu_by_process names the tables",
    "executions at once": "pgtrace query slow_queries has the texts; top or pidstat on the host tells CPU from waiting",
    "heavy query": "pgtrace query slow_queries has its text; top or pidstat on the host tells CPU from waiting",
    "connections": "use a connection pooler, or keep connections open; see pooling below",
    "jit": "raise jit_above_cost, or set jit = off for these queries",
}


def _measured(bins: Bins, timeline: list[dict[str, Any]]) -> list[tuple[str, str, Evidence]]:
    """Processes that say their CPU, in bins where all of them together used more than usual."""
    rows = [row for row in timeline if row["cpu_s"] is not None]
    total = bins.summed(rows, "cpu_s")
    spikes = find_spikes(total, bins, least=_LEAST_CORES, times=_TIMES, amount=_LEAST_CPU_S)
    found = []
    for process, kind in sorted({(row["process"], row["what"]) for row in rows}) if spikes.any else ():
        own = bins.summed([row for row in rows if (row["process"], row["what"]) == (process, kind)], "cpu_s")
        used = float(own[spikes.mask].sum()) * bins.step_s
        place = int(np.argmax(np.where(spikes.mask, own, -1.0)))
        text = (
            f"{process}, {kind}: {own[place]:.1f} processors at {bins.time(place):%Y-%m-%d %H:%M:%S}, "
            f"all that say their CPU usually {spikes.usual:.2f}; {used:,.1f} s of CPU in {stretch(spikes, bins)}"
        )
        numbers = {"cores_max": float(own[place]), "usual_cores": spikes.usual, "cpu_s": used}
        found.append((used, (process, kind, Evidence(text, numbers))))
    return [item for used, item in sorted(found, key=lambda pair: -pair[0]) if used > 0][:_MOST_SHOWN]


def _at_work(scope: Scope, bins: Bins) -> list[tuple[str, str, Evidence]]:
    """Bins in which more executions than usual were at work at once, and the heavy queries among them."""
    active = _active(scope, bins)
    spikes = find_spikes(active, bins, least=_LEAST_ACTIVE, times=_TIMES, amount=_LEAST_ACTIVE_S)
    if not spikes.any:
        return []
    numbers = {"active_max": spikes.peak, "usual_active": spikes.usual, "limit": spikes.limit}
    text = (
        f"{spikes.peak:.1f} executions at once on the CPU or at the disk at "
        f"{bins.time(spikes.place):%Y-%m-%d %H:%M:%S} (those that wait for locks not counted), usually "
        f"{spikes.usual:.1f}; above {spikes.limit:.1f} for {stretch(spikes, bins)}"
    )
    heavy = _heavy(scope, bins, spikes)
    kind = "heavy query" if heavy else "executions at once"
    return [("backend", kind, Evidence(text, numbers)), *(("backend", kind, one) for one in heavy)]


def _active(scope: Scope, bins: Bins) -> Values:
    """Executions at work at once, on average per bin: those in flight less those that wait for a lock."""
    seconds = scope.rows(
        f"""
        select second as starting_at, in_flight,
            cast(greatest(sum(started - ended) over (order by second), 0) as double) as level_after,
            date_diff('second', second, lead(second) over (order by second)) - 1 as gap_s
        from activity
        where {within("second")}
        order by second
        """
    )
    active = bins.summed(seconds, "in_flight")
    gaps = [row for row in seconds if (row["gap_s"] or 0) > 0 and row["level_after"] > 0]
    for row in gaps:
        first = row["starting_at"].timestamp() + 1 - bins.first_at.timestamp()
        last = first + row["gap_s"]
        for place in range(max(0, int(first // bins.step_s)), min(bins.count, int(last // bins.step_s) + 1)):
            share = min(last, (place + 1) * bins.step_s) - max(first, place * bins.step_s)
            active[place] += row["level_after"] * max(0.0, share) / bins.step_s
    waits = scope.rows(
        f"""
        select waiting_since, heard_at
        from whole_lock_wait
        where heard_at > waiting_since and {within("waiting_since")}
        """
    )
    waiting = bins.covered([row["waiting_since"] for row in waits], [row["heard_at"] for row in waits])
    return np.maximum(active - waiting, 0.0)


def _heavy(scope: Scope, bins: Bins, spikes: Spikes) -> list[Evidence]:
    """Queries that are long by nature, with at least half an execution at work in the bins that stand out."""
    rows = scope.rows(
        f"""
        select event_window.fingerprint, query.query_text, started_at, ended_at
        from event_window
        left join query on event_window.fingerprint = query.fingerprint
        where kind = 'heavy query' and event_window.{within("started_at")}
        order by event_window.fingerprint, started_at
        """
    )
    found = []
    for fingerprint in sorted({row["fingerprint"] for row in rows}):
        own = [row for row in rows if row["fingerprint"] == fingerprint]
        at_once = bins.covered([row["started_at"] for row in own], [row["ended_at"] for row in own])
        mean = float(at_once[spikes.mask].mean())
        if mean >= 0.5:
            text = " ".join((own[0]["query_text"] or "statement not logged").split())[:80]
            numbers = {"fingerprint": fingerprint, "at_once": mean, "executions": len(own)}
            found.append((mean, Evidence(f"of these {mean:.1f} were of the heavy query '{text}'", numbers)))
    return [evidence for _, evidence in sorted(found, key=lambda pair: -pair[0])][:_MOST_SHOWN]


def _connections(scope: Scope, bins: Bins) -> list[tuple[str, str, Evidence]]:
    """Bins with many more new connections than usual."""
    rows = scope.rows(
        f"""
        select date_trunc('second', coalesce(received_at, logged_at)) as starting_at, count(*) as connections
        from connection
        where {within("logged_at")}
        group by all
        """
    )
    rates = bins.summed(rows, "connections")
    spikes = find_spikes(rates, bins, least=_LEAST_CONNECTIONS, times=_TIMES_CONNECTIONS, amount=_FEWEST_CONNECTIONS)
    if not spikes.any:
        return []
    text = (
        f"{spikes.peak:,.0f} new connections a second at {bins.time(spikes.place):%Y-%m-%d %H:%M:%S}, usually "
        f"{spikes.usual:,.1f}, for {stretch(spikes, bins)}: each is a new process and a login"
    )
    numbers = {"connections_per_s": spikes.peak, "usual_per_s": spikes.usual}
    return [("postmaster", "connections", Evidence(text, numbers))]


def _jit(scope: Scope) -> list[tuple[str, str, Evidence]]:
    """JIT compilation that took much of the time of logged plans."""
    row = scope.row(
        f"""
        select fsum(jit_ms) / 1000 as jit_s,
            100 * fsum(jit_ms) / fsum(duration_ms) filter (jit_ms is not null) as jit_pct
        from plan
        where {within("logged_at")}
        """
    )
    if (row["jit_s"] or 0) < _JIT_S or row["jit_pct"] < _JIT_PCT:
        return []
    text = f"JIT compilation took {row['jit_s']:,.1f} s, {row['jit_pct']:.0f} % of the time of the plans that used it"
    return [("backend", "jit", Evidence(text, row))]
