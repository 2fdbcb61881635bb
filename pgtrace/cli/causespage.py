"""What goes together with slowness, as a page: what to know first, then the ranking, then what else was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgtrace.analysis import verdicts
from pgtrace.analysis.causerows import LEAST_SHARE_PCT
from pgtrace.analysis.phrases import phrase
from pgtrace.cli.page import count, moment, moments, one_line, seconds, share, times

if TYPE_CHECKING:
    from rich.console import Console

    from pgtrace.analysis import Causes

_MOST_CAUSES, _MOST_QUERIES, _MOST_ITEMS = 12, 3, 12
#: a query below a process is shown if it has this share of the process's excess seconds
_LEAST_OF_CAUSE = 0.05


def print_causes(console: Console, causes: Causes, *, of_query: bool = False, everything: bool = False) -> None:
    """Print the page. ``of_query``: the rows are about one query; ``everything``: a row for every test."""
    rows = list(causes.rows.iter_rows(named=True))
    blamed = _of_query(rows) if of_query else list(causes.blamed.iter_rows(named=True))
    several = len(causes.facts["servers"]) > 1
    for sentence in _headline(blamed, rows, causes.facts, of_query):
        console.print(sentence, style="bold")
    console.print()
    if everything:
        _print_table(console, rows, rows, several, with_queries=False)
    elif blamed:
        _print_table(console, blamed[:_MOST_CAUSES], rows, several, with_queries=not of_query)
        _print_evidence(console, blamed[:_MOST_CAUSES])
    if not everything:
        _print_rest(console, rows, blamed, several, of_query)
    _print_facts(console, causes.facts)


def name_of(row: dict[str, Any], several: bool) -> str:
    """What a row is about: ``autovacuum worker: vacuum, same relation (app.orders)``."""
    subject = f" ({one_line(row['subject'], 60)})" if row["subject"] and row["verdict"] != verdicts.RECORDED else ""
    server = f"{row['server']} · " if several else ""
    return f"{server}{row['process']}: {row['kind']}{subject}"


def _of_query(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows about one query, one per kind of events that is worth acting on: series and parts are the same doing."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in rows:
        if _is_told(row) and (row["excess_pct"] or 0) >= LEAST_SHARE_PCT:
            found.setdefault((row["server"], row["process"], row["kind"].removesuffix(" series"), row["subject"]), row)
    return list(found.values())


def _is_told(row: dict[str, Any]) -> bool:
    return row["certainty"] not in ("none seen", "cannot tell")


def _headline(
    blamed: list[dict[str, Any]], rows: list[dict[str, Any]], facts: dict[str, Any], of_query: bool
) -> list[str]:
    if not facts["servers"]:
        return ["There is no statement with a duration in this span, so there is nothing to explain."]
    what = "Slow executions of this query" if of_query else "Slow executions"
    sentences = [_sentence(row, what) for row in blamed[:2]]
    if sentences:
        return sentences
    if not rows:
        tested = "This query was not tested: it ran too rarely" if of_query else "No event beside the queries is logged"
        return [f"{tested}, so nothing can be said about what slow executions go together with."]
    return ["Nothing that this log tells of goes together with slow executions, as far as could be judged."]


def _sentence(row: dict[str, Any], what: str) -> str:
    part = f" ({seconds(row['excess_s'])} s, {share(row['excess_pct'])} of the time beyond the usual)"
    name = phrase(row["kind"])
    if row["verdict"] == verdicts.RECORDED:
        return f"{what} are associated with {name}, which the server itself recorded{part}."
    if row["verdict"] == verdicts.NOT_SEPARABLE:
        other = phrase(str(row["not_separable_from"]))
        return f"{what} are associated with {name} or {other}: the log cannot tell these apart{part}."
    if row["verdict"] == verdicts.ASSOCIATED:
        return f"{what} are associated with {name}{part}."
    return f"{what} coincide with {name}{part}: {count(row['events'], 'event')}, too few to be sure."


def _print_table(
    console: Console, shown: list[dict[str, Any]], rows: list[dict[str, Any]], several: bool, *, with_queries: bool
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("process: what it did", ratio=1, min_width=24)
    for title in ("times slower", "excess s", "of all"):
        table.add_column(title, justify="right", no_wrap=title != "times slower")
    table.add_column("how sure", min_width=12)
    for number, row in enumerate(shown, 1):
        name = name_of(row, several)
        if not with_queries and row["fingerprint"] is not None:
            name += f" · {one_line(row['query_text'], 60)}"
        table.add_row(str(number), Text(name), *_numbers(row), row["certainty"], style="bold" if with_queries else None)
        for query in _queries_of(row, rows) if with_queries else ():
            text = one_line(query["query_text"]) or "(statement not logged)"
            sure = "" if query["certainty"] == row["certainty"] else query["certainty"]
            table.add_row("", Text("  " + text, no_wrap=True, overflow="ellipsis"), *_numbers(query), sure)
    console.print(table)


def _numbers(row: dict[str, Any]) -> tuple[str, str, str]:
    return times(row["times_slower"]), seconds(row["excess_s"]), share(row["excess_pct"])


def _queries_of(cause: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queries that a kind of events goes hardest with."""
    keys = (
        ["server", "process", "kind"]
        if cause["verdict"] == verdicts.RECORDED
        else ["server", "process", "kind", "subject"]
    )
    own = [
        row
        for row in rows
        if row["fingerprint"] is not None
        and all(row[key] == cause[key] for key in keys)
        and (row["verdict"] == verdicts.RECORDED) == (cause["verdict"] == verdicts.RECORDED)
        and (row["excess_s"] or 0) > _LEAST_OF_CAUSE * (cause["excess_s"] or 0)
    ]
    return sorted(own, key=lambda row: -row["excess_s"])[:_MOST_QUERIES]


def _print_evidence(console: Console, blamed: list[dict[str, Any]]) -> None:
    from rich.padding import Padding
    from rich.table import Table

    notes = Table.grid(padding=(0, 2, 0, 0))
    notes.add_column()
    notes.add_column(ratio=1)
    for number, row in enumerate(blamed, 1):
        example = f" For example at {moments(row['examples'])}." if row["examples"] else ""
        sentence = one_line(row["evidence"])
        notes.add_row(str(number), f"{sentence[:1].upper()}{sentence[1:]}.{example}")
    console.print(Padding(notes, (0, 0, 1, 0)))


def _print_rest(
    console: Console, rows: list[dict[str, Any]], blamed: list[dict[str, Any]], several: bool, of_query: bool
) -> None:
    """One line each: what has no effect, what has little, what cannot be judged."""
    told = {row["rank"] for row in blamed} | {row["rank"] for row in rows if of_query and _is_told(row)}
    families = {_doing(row) for row in blamed}
    lists: dict[str, dict[tuple[object, ...], list[str]]] = {}
    for row in rows:
        is_shown = (of_query or row["fingerprint"] is None) and not row["kind"].endswith(" series")
        if row["rank"] in told or _doing(row) in families or not is_shown:
            continue
        title, note = _why_not(row)
        item = name_of(row, several) + (f" ({note})" if note else "")
        lists.setdefault(title, {}).setdefault(_doing(row), []).append(item)
    for title in _TITLES:
        if title in lists:
            console.print(f"{title}: {'; '.join(_items(lists[title]))}.")


def _items(listed: dict[tuple[object, ...], list[str]]) -> list[str]:
    """One item per kind of events, however many tables or queries it was about."""
    items = [f"{first} and {len(more)} more like it" if more else first for first, *more in listed.values()]
    return items if len(items) <= _MOST_ITEMS else [*items[:_MOST_ITEMS], f"{len(items) - _MOST_ITEMS} more"]


def _doing(row: dict[str, Any]) -> tuple[object, ...]:
    return row["server"], row["process"], row["kind"].removesuffix(" series")


_NONE = "No effect seen"
_LITTLE = "Goes together with slow executions, but is little of the time or part of the above"
_CLOCK = "Cannot be judged, something else keeps the same time"
_FEW = "Cannot be judged, too few events (8 are needed)"
_HIDDEN = "Cannot be judged, fast executions are not logged"
_COARSE = "Cannot be judged, the log's times are whole seconds"
_TITLES = (_LITTLE, _NONE, _FEW, _CLOCK, _HIDDEN, _COARSE)


def _why_not(row: dict[str, Any]) -> tuple[str, str]:
    verdict = row["verdict"]
    if verdict == verdicts.NO_EFFECT:
        seen = row["smallest_ratio_seen"]
        return _NONE, f"{times(seen)} as many slow would have been seen" if seen else ""
    if verdict == verdicts.FEW_EVENTS and not _is_told(row):
        return _FEW, f"{row['events']}"
    unjudged = {verdicts.CLOCK: _CLOCK, verdicts.HIDDEN: _HIDDEN, verdicts.COARSE: _COARSE}
    if verdict in unjudged:
        return unjudged[verdict], ""
    return _LITTLE, share(row["excess_pct"])


def _print_facts(console: Console, facts: dict[str, Any]) -> None:
    for server in facts["servers"]:
        is_one_day = server["first_at"].date() == server["last_at"].date()
        span = f"{moment(server['first_at'])} to {moment(server['last_at'], day=not is_one_day)}"
        console.print(
            f"{server['server']}: {count(server['statements'], 'execution')} of "
            f"{count(server['queries'], 'query', 'queries')}, {span} UTC, {seconds(server['slow_s'])} s of it beyond "
            f"what nine in ten of each query's executions take; {count(server['events'], 'event')} beside them."
        )
    for note in facts["notes"]:
        console.print(f"Note: {note}.")
    if (facts["logged_from_ms"] or 0) > 0:
        console.print(
            "To know more: a lower log_min_duration_statement, or log_min_duration_sample with "
            "log_statement_sample_rate, shows effects on fast executions."
        )
    if (facts["resolution_ms"] or 0) >= 1000:
        console.print("To know more: %m instead of %t in log_line_prefix gives milliseconds.")
