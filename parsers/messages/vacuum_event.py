"""What vacuum could not do, and how near wraparound is.

Written by autovacuum.c, vacuum.c, vacuumlazy.c, varsup.c and multixact.c; that autovacuum skipped a table by
log_autovacuum_min_duration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import RECORD, SESSION, Column

if TYPE_CHECKING:
    import polars as pl

#: events by how their messages begin
_EVENTS = {
    "canceling autovacuum task": "canceled",
    "terminating autovacuum process due to administrator command": "terminated",
    "skipping vacuum of ": "skipped",
    "skipping analyze of ": "skipped",
    'skipping "': "skipped",
    "permission denied to vacuum ": "skipped",  # 16
    "permission denied to analyze ": "skipped",  # 16
    "bypassing nonessential maintenance of table ": "failsafe",  # 14
    "database with OID ": "wraparound_near",
    "database is not accepting commands": "commands_refused",
    'multixact "members" limit exceeded': "commands_refused",
    "oldest xmin is far in the past": "horizon_old",  # 12-14
    "oldest multixact is far in the past": "horizon_old",  # 12-14
    "cutoff for removing and freezing tuples is far in the past": "horizon_old",  # 15
    "cutoff for freezing multixacts is far in the past": "horizon_old",  # 15
    "some databases have not been vacuumed in over 2 billion transactions": "wraparound_passed",
    "MultiXact member wraparound protections are disabled": "member_protection_off",
    "MultiXact member wraparound protections are now enabled": "member_protection_on",
    "autovacuum: dropping orphan temp table ": "orphan_dropped",
    "autovacuum worker took too long to start; canceled": "worker_late",  # 15
    "worker took too long to start; canceled": "worker_late",  # 12-14
    "autovacuum worker started without a worker entry": "worker_without_entry",
    '"autovacuum_max_workers" (': "few_worker_slots",  # 18
}
#: pg_stat_progress_vacuum has these names
_PHASES = {
    "scanning": "scanning heap",
    "vacuuming": "vacuuming heap",
    "vacuuming index": "vacuuming indexes",
    "cleaning up index": "cleaning up indexes",
    "truncating": "truncating heap",
}
_TRANSACTIONS, _MULTIXACTS, _MEMBERS = "transaction ID", "MultiXactId", "MultiXact member"
_COUNTERS = {
    "transactions": _TRANSACTIONS,
    "transaction IDs": _TRANSACTIONS,
    "xmin": _TRANSACTIONS,
    "removing and freezing tuples": _TRANSACTIONS,
    "MultiXactId": _MULTIXACTS,
    "MultiXactIds": _MULTIXACTS,
    "multixact": _MULTIXACTS,
    "freezing multixacts": _MULTIXACTS,
    "multixact member": _MEMBERS,
    "multixact members": _MEMBERS,
    'multixact "members"': _MEMBERS,
    "MultiXact member": _MEMBERS,
}
#: a relation may have dots in its name, a schema or database hardly
_DATABASE_SCHEMA_RELATION = r'"(?P<database_name>[^.]*)\.(?P<schema_name>[^.]*)\.(?P<relation_name>(?s:.*))"'


def _is_warning_by_name() -> pl.Expr:
    """A database's name comes first in it, as in messages that others read."""
    import polars as pl

    message = pl.col("message")
    is_ours = message.str.starts_with('database "') & message.str.contains('" must be vacuumed ', literal=True)
    return is_ours & (pl.col("severity") == "WARNING")


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    message = pl.col("message")
    found = [pl.when(message.str.starts_with(start)).then(pl.lit(event)) for start, event in _EVENTS.items()]
    event = pl.coalesce(*found, pl.lit("wraparound_near"))
    # to version 16 it only says which ones it is when they are not transactions
    counter = pl.when(pl.col("counter").is_null() & (event == "commands_refused")).then(pl.lit(_TRANSACTIONS))
    return {
        "counter": pl.coalesce(
            pl.col("counter").replace_strict(_COUNTERS, default=None, return_dtype=pl.String), counter
        ),
        "event": event,
        "phase": pl.col("phase").replace_strict(_PHASES, default=None, return_dtype=pl.String),
    }


MESSAGE = MessageType(
    table="vacuum_event",
    one_row_per="message that a vacuum was not done or not whole, or that wraparound is near",
    process="autovacuum worker, or backend",
    starts_with=tuple(_EVENTS),
    severities=("LOG", "WARNING", "ERROR", "FATAL"),
    also=_is_warning_by_name,
    patterns=(
        r'^(?P<event>canceling autovacuum task|terminating autovacuum process|skipping (?s:.*) --- |permission denied to \w+ (?s:.*), skipping it$|bypassing nonessential maintenance of table|database (?:"(?s:.*)"|with OID \d+) must be vacuumed (?:within|before) |database is not accepting commands|multixact "members" limit exceeded|oldest \w+ is far|cutoff for [\w ]+ is far|some databases have not been vacuumed|MultiXact member wraparound protections|autovacuum: dropping|(?:autovacuum )?worker (?:took|started)|"autovacuum_max_workers" \(\d+\) should be)',  # noqa: E501
        r'^(?:skipping|permission denied to) (?P<operation>vacuum|analyze) (?:of )?"(?P<relation_name>(?s:.*))"(?: ---|, skipping it$)',  # noqa: E501
        r'^skipping "(?P<relation_name>(?s:.*))" --- ',
        r'^skipping "(?s:.*) --- [\w ]*(?P<operation>vacuum|analyze) ',
        r"^skipping (?s:.*) --- (?P<reason>.*)$",
        r"^(?P<reason>permission denied) to ",  # 16
        rf"^bypassing nonessential maintenance of table {_DATABASE_SCHEMA_RELATION} as a failsafe",  # 14
        r" as a failsafe after (?P<index_scans>\d+) index scans$",
        r'^database "(?P<database_name>(?s:.*))" must be vacuumed ',
        r'^database is not accepting commands .* in database "(?P<database_name>(?s:.*))"$',
        r"^database (?:is not .* )?with OID (?P<database_oid>\d+)",
        r" must be vacuumed (?:within|before) (?P<ids_left>\d+) (?:more )?(?P<counter>transactions|MultiXactIds?|multixact members?)(?: (?:is|are) used)?$",  # noqa: E501
        r'^(?:database is not accepting commands that (?:generate|assign) new |oldest |cutoff for )?(?P<counter>transaction IDs|MultiXactIds|xmin|multixact "members"|multixact|removing and freezing tuples|freezing multixacts|MultiXact member) ',  # noqa: E501
        rf"^autovacuum: dropping orphan temp table {_DATABASE_SCHEMA_RELATION}$",
    ),
    context_patterns=(
        rf"(?:^|\n)automatic (?P<operation>vacuum|analyze) of table {_DATABASE_SCHEMA_RELATION}$",
        rf"(?:^|\n)processing (?P<operation>work entry) for relation {_DATABASE_SCHEMA_RELATION}$",
        # 12 does not say how far it was
        r"(?:^|\n)while (?P<phase>scanning|vacuuming index|vacuuming|cleaning up index|truncating) ",  # 13
        r'(?:^|\n)while \w+ block (?P<block_no>\d+)(?: offset \d+)? of relation "',  # 13
        r'(?:^|\n)while \w+ block \d+ offset (?P<offset_no>\d+) of relation "',  # 14
        r'(?:^|\n)while [\w ]+ index "(?P<index_name>(?s:.*?))" of relation "',  # 13
        r'(?:^|\n)while [\w ]+ (?:index "(?s:.*?)" of )?relation "(?P<schema_name>[^.]*)\.(?P<relation_name>(?s:.*?))"(?: to \d+ blocks)?(?:\n|$)',  # noqa: E501  13
    ),
    columns={
        "event": Column("one of: " + ", ".join(dict.fromkeys(_EVENTS.values()))),
        "severity": RECORD.columns["severity"],
        "operation": Column("vacuum, analyze, or work entry, such as the summary of a BRIN index"),
        "database_name": Column("database that it is about, where the message names one"),
        "database_oid": Column("its oid, where it is named by that", int),
        "schema_name": Column("schema"),
        "relation_name": Column("table"),
        "index_name": Column("index that it was at work on"),
        "phase": Column("how far it was, as pg_stat_progress_vacuum names it; from version 13"),
        "block_no": Column("page of the table that it was at", int),
        "offset_no": Column("row of that page, from version 14", int),
        "index_scans": Column("passes over the indexes before the failsafe, from version 14", int),
        "counter": Column("what runs out: transaction ID, MultiXactId, MultiXact member"),
        "ids_left": Column("how many of these are left until commands are refused", int),
        "reason": Column("why it was skipped, as printed"),
    },
    keeps=SESSION,
    derive=_derive,
)
