"""Settings of autovacuum that the log argues against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgtrace.doctor.answer import Advice, alter_system
from pgtrace.doctor.scope import Scope, within

#: a vacuum that takes so long, and reads and dirties less than this a second, is held back by its cost limit
_LONG_S, _SLOW_MB_S = 600.0, 20.0
#: rows of a large table, of which such a share was dead when it was vacuumed
_LARGE_ROWS, _DEAD_SHARE = 1_000_000, 0.15
#: dead rows that nobody may remove: so many, in so many runs
_HELD_ROWS, _HELD_RUNS = 1000, 3
#: a table that is vacuumed so often, at such a share of the time, though it is small work
_OFTEN_RUNS, _OFTEN_PCT = 20, 50.0
_MOST_TABLES = 3


def vacuum_advice(scope: Scope) -> list[Advice]:
    """What the runs of autovacuum of this server say."""
    pressure = scope.query("autovacuum_pressure").to_dicts()
    found = [*_memory(scope, pressure), *_held_back(scope), *_scale(scope), *_not_removable(scope)]
    return [*found, *_all_the_time(pressure), *_canceled(pressure)]


def _memory(scope: Scope, pressure: list[dict[str, Any]]) -> Iterator[Advice]:
    rows = [row for row in pressure if row["several_index_scans"]]
    if not rows:
        return
    runs = sum(row["several_index_scans"] for row in rows)
    worst = max(rows, key=lambda row: row["most_index_scans"])
    name = "autovacuum_work_mem"
    now = scope.known.get(name)
    if now is None or now.bytes is None:
        name, now = "maintenance_work_mem", scope.known.get("maintenance_work_mem")
    least = worst["most_index_scans"] * (now.bytes if now is not None and now.bytes else 64 * 1024**2)
    megabytes = max(64, 2 ** (int(least / 1024**2) - 1).bit_length())
    value = f"{min(megabytes, 1024)}MB"
    yield Advice(
        name,
        None if now is None else now.text,
        value,
        f"{runs:,} vacuums went over the indexes more than once, {worst['relation']} up to {worst['most_index_scans']} "
        "times: its dead rows did not fit",
        (alter_system(name, value),),
        note="each of autovacuum_max_workers may take that much",
    )


def _held_back(scope: Scope) -> Iterator[Advice]:
    """Long runs at a low rate, or that slept most of the time (which version 18 says)."""
    rows = scope.rows(
        f"""
        select concat_ws('.', database_name, schema_name, relation_name) as relation, count(*) as runs,
            max(elapsed_s) as most_s, median(read_mb_s + write_mb_s) as mb_s,
            fsum(delay_ms) / 10 / fsum(elapsed_s) filter (delay_ms is not null) as asleep_pct
        from autovacuum
        where elapsed_s >= {_LONG_S} and {within("logged_at")}
        group by relation
        order by most_s desc, relation
        """
    )
    slow = [row for row in rows if (row["asleep_pct"] or 0) >= 50 or (row["mb_s"] or _SLOW_MB_S) < _SLOW_MB_S]
    if not slow:
        return
    top = slow[0]
    asleep = f", asleep {top['asleep_pct']:.0f} % of it" if top["asleep_pct"] else ""
    rate = f" at {top['mb_s']:.1f} MB/s" if top["mb_s"] is not None else ""
    yield Advice(
        "autovacuum_vacuum_cost_limit",
        scope.known.text("autovacuum_vacuum_cost_limit"),
        "1000",
        f"vacuums of {len(slow)} table{'s' if len(slow) > 1 else ''} took over {_LONG_S / 60:.0f} min; "
        f"{top['relation']} {top['most_s'] / 60:.0f} min{rate}{asleep}",
        (alter_system("autovacuum_vacuum_cost_limit", "1000"),),
        note="five times the I/O that vacuum may do, all workers together",
    )


def _scale(scope: Scope) -> Iterator[Advice]:
    """Large tables that are vacuumed only when a large share of them is dead."""
    rows = scope.rows(
        f"""
        select concat_ws('.', schema_name, relation_name) as relation, count(*) as runs,
            median(tuples_removed / nullif(tuples_removed + tuples_remain, 0)) as share,
            cast(max(tuples_remain) as bigint) as rows, max(elapsed_s) as most_s
        from autovacuum
        where tuples_remain >= {_LARGE_ROWS} and not coalesce(is_wraparound, false) and {within("logged_at")}
        group by relation
        having share >= {_DEAD_SHARE} and most_s >= 60
        order by rows desc, relation
        limit {_MOST_TABLES}
        """
    )
    for row in rows:
        yield Advice(
            "autovacuum_vacuum_scale_factor",
            scope.known.text("autovacuum_vacuum_scale_factor"),
            f"0.02 for {row['relation']}",
            f"{row['relation']} has {row['rows']:,} rows, {100 * row['share']:.0f} % of them dead when vacuum came, "
            f"which took up to {row['most_s'] / 60:.0f} min",
            (f"ALTER TABLE {row['relation']} SET (autovacuum_vacuum_scale_factor = 0.02);",),
            takes="at once",
            note="smaller runs, more often",
        )


def _not_removable(scope: Scope) -> Iterator[Advice]:
    """Runs that found dead rows which someone may still see: an old transaction, a slot, or a standby."""
    rows = scope.rows(
        f"""
        select concat_ws('.', database_name, schema_name, relation_name) as relation, count(*) as runs,
            max(tuples_dead_not_removable) as most, max(removable_cutoff_age) as oldest
        from autovacuum
        where tuples_dead_not_removable >= {_HELD_ROWS} and tuples_dead_not_removable >= tuples_removed
            and {within("logged_at")}
        group by relation
        having runs >= {_HELD_RUNS}
        order by most desc, relation
        """
    )
    if not rows:
        return
    top = rows[0]
    age = f"; the oldest transaction that may see them was {top['oldest']:,} transactions old" if top["oldest"] else ""
    yield Advice(
        "idle_in_transaction_session_timeout",
        scope.known.text("idle_in_transaction_session_timeout"),
        "10min",
        f"{top['runs']:,} vacuums of {top['relation']} could not remove up to {top['most']:,} dead rows{age}",
        (
            "select pid, application_name, state, xact_start, backend_xmin from pg_stat_activity "
            "where backend_xmin is not null order by xact_start;",
            alter_system("idle_in_transaction_session_timeout", "10min"),
        ),
        note="first find who holds them: a long transaction, a replication slot, hot_standby_feedback, a prepared one",
    )


def _all_the_time(pressure: list[dict[str, Any]]) -> Iterator[Advice]:
    for row in pressure[:_MOST_TABLES]:
        if row["runs"] >= _OFTEN_RUNS and (row["share_of_span_pct"] or 0) >= _OFTEN_PCT:
            relation = row["relation"].partition(".")[2] or row["relation"]
            yield Advice(
                "autovacuum_vacuum_threshold",
                None,
                f"10000 for {relation}",
                f"{row['relation']} was vacuumed {row['runs']:,} times, {row['share_of_span_pct']:.0f} % of the time",
                (f"ALTER TABLE {relation} SET (autovacuum_vacuum_threshold = 10000);",),
                takes="at once",
                note="fewer, larger runs; if dead rows stay, look for old transactions first",
            )


def _canceled(pressure: list[dict[str, Any]]) -> Iterator[Advice]:
    rows = sorted((row for row in pressure if row["canceled"] >= _HELD_RUNS), key=lambda row: -row["canceled"])
    if rows:
        top = rows[0]
        relation = top["relation"].partition(".")[2] or top["relation"]
        yield Advice(
            "vacuum_truncate",
            None,
            f"off for {relation}",
            f"autovacuum of {top['relation']} was cancelled {top['canceled']:,} times for others' locks, so its work "
            "was lost",
            (f"ALTER TABLE {relation} SET (vacuum_truncate = off);",),
            takes="at once",
            note="truncation takes the lock that others wait for; DDL and LOCK TABLE cancel it as well",
        )
