"""Sessions from beginning to end (log_connections, log_disconnections; postinit.c, auth.c, postgres.c).

A session writes up to five messages; the table has one row for all of them. They are put together by session id where
the log carries it (csvlog, jsonlog, %c), else by pid and order: a message that cannot follow the one before it in a
session begins the next. Without a pid too, each message is a row.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import SESSION, Column

if TYPE_CHECKING:
    import polars as pl

_EVENTS = {
    "connection received": "received",
    "connection authenticated": "authenticated",
    "connection authorized": "authorized",
    "replication connection authorized": "authorized",
    "connection ready": "ready",
    "disconnection": "ended",
}


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    seconds = (
        pl.col("hours").cast(pl.Float64) * 3600
        + pl.col("minutes").cast(pl.Float64) * 60
        + pl.col("seconds").cast(pl.Float64)
    )
    is_authorized = pl.col("event") == "authorized"
    return {
        "event": pl.col("event").replace_strict(_EVENTS, default=None, return_dtype=pl.String),
        # the other messages do not say
        "is_replication": pl.when(is_authorized).then("is_replication"),
        "is_ssl": pl.when(is_authorized).then("is_ssl"),
        "user_name": pl.coalesce("said_user", "user_name"),
        "database_name": pl.coalesce(pl.when(pl.col("said_database") != "").then("said_database"), "database_name"),
        "application_name": pl.coalesce("said_application", "application_name"),
        "client_host": pl.coalesce("said_host", "client_host"),
        "session_s": seconds.round(3),
    }


_OF_SESSION = {
    "client_port": Column("client port", int),
    "is_replication": Column("whether it is a replication connection", bool),
    "is_ssl": Column("whether it is encrypted with TLS", bool),
    "ssl_protocol": Column("TLS version"),
    "ssl_cipher": Column("TLS cipher"),
    "authentication_method": Column("method of pg_hba.conf, from version 14"),
    "authenticated_identity": Column("who the method says it is, from version 14"),
    "hba_line": Column("line of pg_hba.conf that let it in"),
    "session_s": Column("how long the session lasted, as the server says", float, "s"),
    "setup_ms": Column("time to set the session up, from version 18", float, "ms"),
    "fork_ms": Column("time to start its process", float, "ms"),
    "authentication_ms": Column("time to authenticate", float, "ms"),
}
_TIMES = {
    "received_at": Column("when the connection came in", datetime),
    "authenticated_at": Column("when it was authenticated, from version 14", datetime),
    "authorized_at": Column("when it was let into the database; null: it was not, or that is not logged", datetime),
    "ready_at": Column("when it was ready for queries, from version 18", datetime),
    "ended_at": Column("when the session ended; null: it had not, or that is not logged", datetime),
}
_SESSION_COLUMNS = {name: column for name, column in SESSION.items() if name != "logged_at"}
_SAID = ("said_user", "said_database", "said_application", "said_host", "hours", "minutes", "seconds")

MESSAGE = MessageType(
    table="connection",
    one_row_per="session",
    process="backend",
    starts_with=tuple(f"{event}: " for event in _EVENTS),
    patterns=(
        r"^(?P<event>[a-z]+(?: [a-z]+)*): ",
        r"^(?P<is_replication>replication) connection",
        r"^connection received: host=(?P<said_host>\S+)(?: port=(?P<client_port>\d+))?",
        # 14 identity, 17 user where the method trusts
        r'^connection authenticated: (?:identity|user)="(?P<authenticated_identity>.*)" method=(?P<authentication_method>\S+)(?: \((?P<hba_line>.*)\))?$',  # noqa: E501
        # names without blanks first: a pattern that leaves no choice is read several times as fast
        r"^connection authorized: user=(?P<said_user>[^ ]*) database=(?P<said_database>[^ ]*)(?: application_name=(?P<said_application>[^(]*))?$",  # noqa: E501
        r"^connection authorized: user=(?P<said_user>.*?)(?: database=(?P<said_database>.*?))?(?: application_name=(?P<said_application>.*?))?(?: SSL enabled \(.*\))?(?: GSS \(.*\))?$",  # noqa: E501
        r"^replication connection authorized: user=(?P<said_user>.*?)(?: database=(?P<said_database>.*?))?(?: application_name=(?P<said_application>.*?))?(?: SSL enabled \(.*\))?(?: GSS \(.*\))?$",  # noqa: E501
        # at the end only: an application may call itself that; 12 and 13 add compression
        r" (?P<is_ssl>SSL) enabled \(protocol=(?P<ssl_protocol>[^,]*), cipher=(?P<ssl_cipher>[^,]*), [^()]*\)(?: GSS \(.*\))?$",  # noqa: E501
        r"^connection ready: setup total=(?P<setup_ms>[\d.]+) ms, fork=(?P<fork_ms>[\d.]+) ms, authentication=(?P<authentication_ms>[\d.]+) ms",  # noqa: E501  18
        r"^disconnection: session time: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+) user=(?P<said_user>[^ ]*) database=(?P<said_database>[^ ]*) host=(?P<said_host>[^ ]+)(?: port=(?P<client_port>\d+))?$",  # noqa: E501
        r"^disconnection: session time: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+) user=(?P<said_user>.*) database=(?P<said_database>.*) host=(?P<said_host>\S+?)(?: port=(?P<client_port>\d+))?$",  # noqa: E501
    ),
    columns={
        "event": Column("received, authenticated, authorized, ready or ended"),
        **_OF_SESSION,
        **{name: Column("as the message says it") for name in _SAID},
    },
    derive=_derive,
    view=f"""
    with
    placed as (
        select *, list_position({list(dict.fromkeys(_EVENTS.values()))}, event) as place
        from {{stored}}
    ),
    ordered as (
        select *, lag(place) over messages as before_place
        from placed
        window messages as (partition by server, pid order by logged_at, source_id, line_no)
    ),
    numbered as (
        select *,
            count(*) filter (before_place is null or place <= before_place)
                over (partition by server, pid order by logged_at, source_id, line_no) as nth
        from ordered
    )
    select server,
        first(source_id order by logged_at, source_id, line_no) as source_id,
        first(line_no order by logged_at, source_id, line_no) as line_no,
        min(logged_at) as logged_at,
        max(pid) as pid,
        max(session_id) as session_id,
        max(user_name) as user_name,
        max(database_name) as database_name,
        coalesce(max(said_application), max(application_name)) as application_name,
        max(client_host) as client_host,
        {", ".join(f"min(logged_at) filter (event = '{name.removesuffix('_at')}') as {name}" for name in _TIMES)},
        {", ".join(f"max({name}) as {name}" for name in _OF_SESSION)}
    from numbered
    group by server, coalesce(session_id, pid || '#' || nth, source_id || '#' || line_no)
    """,
    view_columns={
        "logged_at": Column("first message of the session", datetime),
        **_SESSION_COLUMNS,
        **_TIMES,
        **_OF_SESSION,
    },
)
