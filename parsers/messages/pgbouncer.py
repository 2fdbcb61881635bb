"""What PgBouncer tells of its pools: clients, server connections, waits, errors and its statistics (log_stats).

Source: PgBouncer's settings log_connections, log_disconnections, log_pooler_errors, log_stats, stats_period;
src/objects.c, src/client.c, src/server.c and src/stats.c of PgBouncer 1.7 to 1.24.

Limitations: the text of its statistics has averages over stats_period; the total of a period is not said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, Column

if TYPE_CHECKING:
    import polars as pl

#: how the text behind the socket begins, and what that is called
_EVENTS = {
    "login attempt: ": "login attempt",
    "login failed: ": "login failed",
    "closing because: ": "closed",
    "pooler error: ": "pooler error",
    "new connection to server": "server connected",
    "stats: ": "stats",
    "Stats: ": "stats",
    "server login failed: ": "server login failed",
    "process up: ": "started",
    "listening on ": "listening",
    "got SIG": "signal",
    "server connections dropped, exiting": "stopped",
    "RELOAD command issued": "command",
    "PAUSE ": "command",
    "RESUME ": "command",
    "DISABLE ": "command",
    "ENABLE ": "command",
    "RECONNECT ": "command",
    "KILL ": "command",
    "SUSPEND ": "command",
    "SHUTDOWN ": "command",
}


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    text = pl.col("text")
    event = pl.coalesce(pl.when(text.str.starts_with(start)).then(pl.lit(name)) for start, name in _EVENTS.items())
    is_command = event == "command"
    known = {"(nodb)": None, "(nouser)": None}
    return {
        "event": event.fill_null("other"),
        "side": pl.col("side").replace({"C": "client", "S": "server"}),
        "database_name": pl.coalesce("requested_database", pl.col("database_name").replace(known)),
        "user_name": pl.coalesce("requested_user", pl.col("user_name").replace(known)),
        "command": pl.when(is_command).then(text),
    }


MESSAGE = MessageType(
    table="pgbouncer",
    one_row_per="message of PgBouncer",
    process="PgBouncer",
    program="pgbouncer",
    severities=("LOG", "WARNING", "ERROR", "FATAL", "DEBUG"),
    patterns=(
        r"^(?:[CS]-0x[0-9a-f]+: [^@\n]*?/[^@\n]*@(?:\[[^\]]*\]|[^ ]*?):\d+ )?(?P<text>(?s:.*))$",
        # the socket: kind and address; host and port of a client, or of the server
        r"^(?P<side>[CS])-(?P<socket>0x[0-9a-f]+): (?P<database_name>[^@\n]*?)/(?P<user_name>[^@\n]*)@(?P<host>\[[^\]]*\]|[^ ]*?):(?P<port>\d+) ",  # noqa: E501
        r" (?:closing because|pooler error|login failed): (?P<reason>.*?)(?: \(age=\d+s?\))?$",
        r"^server login failed: (?P<reason>.*)$",
        r" \(age=(?P<age_s>\d+)s?\)$",
        r" login (?:attempt|failed): db=(?P<requested_database>.*?) user=(?P<requested_user>.*?)(?: tls=(?P<tls>.*))?$",
        r"[Ss]tats: (?P<xacts_per_s>\d+) (?:xacts|req)/s",
        r" (?P<queries_per_s>\d+) queries/s",  # 1.8
        r" (?P<client_parses_per_s>\d+) client parses/s, (?P<server_parses_per_s>\d+) server parses/s, (?P<binds_per_s>\d+) binds/s",  # noqa: E501  1.23
        r" in (?P<in_bytes_per_s>\d+) [bB]/s, out (?P<out_bytes_per_s>\d+) [bB]/s",
        r" xact (?P<xact_us>\d+) us",  # 1.8
        r"[ ,]query (?P<query_us>\d+) us",
        r" wait(?: time)? (?P<wait_us>\d+) us",  # 1.8
    ),
    columns={
        "event": Column(
            "login attempt, login failed, closed, pooler error, server connected, server login failed, stats, command, "
            "started, listening, signal, stopped, other"
        ),
        "severity": Column("LOG, WARNING, ERROR, FATAL or DEBUG"),
        "side": Column("client or server: whose connection it is; null for messages about none"),
        "socket": Column("address of the connection, the same from its beginning to its end"),
        "database_name": Column("database as PgBouncer calls it; null before it is known"),
        "user_name": Column("user; null before it is known"),
        "host": Column("address of the client or of the server"),
        "port": Column("its port", int),
        "reason": Column("why it was closed or refused"),
        "age_s": Column("how long the connection was open", float, "s"),
        "tls": Column("TLS of the client's connection, or no"),
        "xacts_per_s": Column("transactions, average of the last period (requests before version 1.8)", float, "1/s"),
        "queries_per_s": Column("queries, from version 1.8", float, "1/s"),
        "client_parses_per_s": Column("prepared statements that clients made, from version 1.23", float, "1/s"),
        "server_parses_per_s": Column("of them made on servers", float, "1/s"),
        "binds_per_s": Column("uses of prepared statements", float, "1/s"),
        "in_bytes_per_s": Column("bytes from clients", float, "bytes/s"),
        "out_bytes_per_s": Column("bytes to clients", float, "bytes/s"),
        "xact_us": Column("average time in a transaction, from version 1.8", float, "us"),
        "query_us": Column("average time of a query", float, "us"),
        "wait_us": Column("average time that clients waited for a server connection, from version 1.8", float, "us"),
        "command": Column("command on the admin console"),
        "text": Column("the message without its connection"),
        "requested_database": Column("database that a login asks for"),
        "requested_user": Column("user that a login gives"),
    },
    keeps=PROCESS,
    derive=_derive,
)
