"""Counts and sums of every table equal what PostgreSQL itself counted in the same run (COPY of its csvlog, and SQL)."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import TRUTH, truth

from pgtrace.api import LakeHandle

#: servers among the samples, and the sample's formats: stderr says no SQLSTATE with these prefixes
SERVERS = sorted(path.stem for path in TRUTH.iterdir())
WITH_SQLSTATE = ("pg13-mixed", "pg15-mixed", "pg15-durstmt", "pg15-extended", "pg18-autoexplain", "pg18-extended")
#: names of the counts by phase in the truth, where they are not ours
PHASES = {"execute_fetch": "fetch", "duration_only": "none"}
#: sums over completed checkpoints: column, name in the truth
CHECKPOINT_SUMS = {
    "slru_written": "slru",
    "wal_added": "added",
    "wal_removed": "removed",
    "wal_recycled": "recycled",
    "sync_s": "sync_s",
    "write_s": "write_s",
    "total_s": "total_s",
    "buffers_written": "buffers",
    "sync_files": "sync_files",
    "distance_kb": "distance_kb",
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def counts(lake: LakeHandle, what: str, table: str, server: str, where: str = "true") -> dict[Any, Any]:
    rows = lake.sql(
        f"select {what}, count(*) from {table} where server = '{server}' and {where} group by all"
    ).fetchall()
    return dict(rows)


def one(lake: LakeHandle, what: str, table: str, server: str, where: str = "true") -> tuple[Any, ...]:
    [row] = lake.sql(f"select {what} from {table} where server = '{server}' and {where}").fetchall()
    return tuple(row)


def test_records_by_severity(sample_lake: LakeHandle, server: str) -> None:
    found = counts(
        sample_lake,
        "severity",
        "record",
        server,
        "source_id not in (select source_id from source where path like '%startup%')",
    )
    assert found == truth(server)["records_by_severity"]


def test_durations_by_phase(sample_lake: LakeHandle, server: str) -> None:
    rows = sample_lake.sql(
        f"select phase, count(*), round(sum(duration_ms), 3) from statement where server = '{server}' "
        "and logged_by = 'duration' group by 1"
    ).fetchall()
    expected = {
        PHASES.get(kind, kind): (value["count"], value["sum_ms"])
        for kind, value in truth(server)["duration_by_kind"].items()
        if kind != "auto_explain"
    }
    assert {phase: (count, total) for phase, count, total in rows} == expected


@pytest.mark.parametrize("kind", ["checkpoint", "restartpoint"])
def test_checkpoints_by_reason(sample_lake: LakeHandle, server: str, kind: str) -> None:
    where = f"process_kind = '{kind}' and started_at is not null"
    found = counts(sample_lake, "array_to_string(reasons, ' ')", "checkpoint", server, where)
    assert found == (truth(server)[f"{kind}_starting_by_reason"] or {})
    done = one(sample_lake, "count(*)", "checkpoint", server, f"process_kind = '{kind}' and completed_at is not null")
    assert done == (truth(server)[f"{kind}_complete"],)


@pytest.mark.parametrize("column", CHECKPOINT_SUMS)
def test_checkpoint_sums(sample_lake: LakeHandle, server: str, column: str) -> None:
    [found] = one(sample_lake, f"sum({column})", "checkpoint", server)
    expected = truth(server)["checkpoint_complete_sums"][CHECKPOINT_SUMS[column]]
    assert found == (pytest.approx(expected, abs=0.001) if expected is not None else None)


def test_vacuums_and_analyzes_by_table(sample_lake: LakeHandle, server: str) -> None:
    name = "concat_ws('.', database_name, schema_name, relation_name)"
    vacuum = "'automatic ' || case when is_aggressive then 'aggressive ' else '' end || 'vacuum '"
    found = counts(sample_lake, f"{vacuum} || {name}", "autovacuum", server)
    found |= counts(sample_lake, f"'automatic analyze ' || {name}", "autoanalyze", server)
    assert found == (truth(server)["autovacuum_by_table"] or {})
    elapsed = [
        one(sample_lake, "coalesce(sum(elapsed_s), 0)", table, server)[0] for table in ("autovacuum", "autoanalyze")
    ]
    assert sum(elapsed) == pytest.approx(truth(server)["autovacuum_elapsed_s_sum"] or 0)


def test_temporary_files_and_bytes(sample_lake: LakeHandle, server: str) -> None:
    found = one(sample_lake, "count(*), cast(sum(size_bytes) as bigint)", "temp_file", server)
    assert found == (truth(server)["temp_files"]["count"], truth(server)["temp_files"]["bytes"])


def test_lock_waits(sample_lake: LakeHandle, server: str) -> None:
    expected = {
        "waiting": truth(server)["lock_still_waiting"],
        "acquired": truth(server)["lock_acquired"],
        "deadlock": truth(server)["lock_detected_deadlock_while_waiting"],
        "deadlock avoided": truth(server)["lock_avoided_deadlock"],
        "failed": truth(server)["lock_failed_acquire"],
    }
    assert counts(sample_lake, "outcome", "lock_wait", server) == {
        key: value for key, value in expected.items() if value
    }
    modes = counts(sample_lake, "mode", "lock_wait", server, "outcome = 'waiting'")
    assert modes == (truth(server)["lock_still_waiting_by_mode"] or {})
    [waited] = one(sample_lake, "sum(waited_ms)", "lock_wait", server, "outcome = 'acquired'")
    expected_ms = truth(server)["lock_acquired_wait_ms_sum"]
    assert waited == (pytest.approx(expected_ms) if expected_ms is not None else None)


def test_connections(sample_lake: LakeHandle, server: str) -> None:
    found = one(
        sample_lake,
        "count(received_at), count(authenticated_at), count(authorized_at) filter (is_replication is not true), "
        "count(authorized_at) filter (is_replication), count(ready_at), count(ended_at), round(sum(session_s), 3)",
        "connection",
        server,
    )
    names = ("received", "authenticated", "authorized")
    expected = [truth(server)[f"connection_{name}"] for name in names]
    expected += [
        truth(server)[name] for name in ("replication_connection_authorized", "connection_ready", "disconnections")
    ]
    assert list(found[:6]) == expected
    assert found[6] == pytest.approx(truth(server)["disconnection_session_seconds_sum"])


@pytest.mark.parametrize("with_sqlstate", WITH_SQLSTATE)
def test_errors_by_sqlstate(sample_lake: LakeHandle, with_sqlstate: str) -> None:
    found = counts(sample_lake, "severity || ' ' || sqlstate", "record", with_sqlstate, "sqlstate <> '00000'")
    assert found == truth(with_sqlstate)["errors_by_sqlstate"]
    errors = counts(sample_lake, "severity || ' ' || sqlstate", "error", with_sqlstate)
    assert errors == {key: value for key, value in found.items() if key.split()[0] not in ("LOG", "NOTICE")}
    unnamed = one(sample_lake, "count(*)", "error", with_sqlstate, "condition is null and sqlstate not like 'ZX%'")
    assert unnamed == (0,)


def test_deadlocks_and_what_autovacuum_could_not_do(sample_lake: LakeHandle, server: str) -> None:
    assert one(sample_lake, "count(*)", "deadlock", server) == (truth(server)["deadlock_errors"],)
    canceled = one(sample_lake, "count(*)", "vacuum_event", server, "event = 'canceled'")
    assert canceled == (truth(server)["autovacuum_cancelled"],)


def test_archiver(sample_lake: LakeHandle, server: str) -> None:
    found = one(
        sample_lake,
        "count(exit_code), count(signal), count(*) filter (outcome = 'gave up')",
        "archive",
        server,
        "operation = 'archive'",
    )
    expected = truth(server)["archive_command_failed"]
    assert found == (expected["exit_code"], expected["signal"], expected["too_many_times"])


def test_server_events(sample_lake: LakeHandle, server: str) -> None:
    found = counts(
        sample_lake,
        "event",
        "server_event",
        server,
        "source_id not in (select source_id from source where path like '%startup%')",
    )
    crash = truth(server)["crash_events"]
    expected = {
        "reload": truth(server)["sighup_reloads"],
        "checkpoints_too_frequent": truth(server)["checkpoints_too_frequent"],
        "wal_restored": truth(server)["restored_from_archive"],
        "ready": crash["ready"],
        "ready_read_only": crash["ready_ro"],
        "redo_started": crash["redo_starts"],
        "redo_done": crash["redo_done"],
    }
    assert {event: found.get(event, 0) for event in expected} == expected
    # "parameter … changed to …" and "removed from configuration file" are counted together there
    changed = found.get("parameter_changed", 0) + found.get("parameter_reset", 0)
    assert changed == truth(server)["parameter_changed"]
    crashes = one(sample_lake, "count(*)", "server_event", server, "is_crash and signal is not null")
    assert crashes == (crash["terminated_by_signal"],)


def test_replication(sample_lake: LakeHandle, server: str) -> None:
    found = counts(sample_lake, "event", "replication", server)
    waits = truth(server)["recovery_conflict_waits"]
    expected = {
        "command_received": truth(server)["replication_commands"],
        "recovery_waiting": waits["still"],
        "recovery_wait_ended": waits["finished"],
    }
    assert {event: found.get(event, 0) for event in expected} == expected


def test_plans_are_counted_beside_statements(sample_lake: LakeHandle, server: str) -> None:
    plans = truth(server)["duration_by_kind"].get("auto_explain", {"count": 0})["count"]
    assert one(sample_lake, "count(*)", "plan", server) == (plans,)
    untied = one(sample_lake, "count(*)", "plan", server, "execution_line_no is null")
    assert untied == (0,)
