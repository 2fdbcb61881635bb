"""Sessions from beginning to end (log_connections, log_disconnections; postinit.c, auth.c, pqcomm.c, postgres.c).

A session writes up to five messages and, where it failed, those that say so: ``refused`` before it was let in,
``lost`` while it was there. The table has one row for all of them. They are put together by session id where the log
carries it (csvlog, jsonlog, %c), else by pid and order: a message that cannot follow the one before it in a session
begins the next. Without a pid too, each message is a row.

``connection authorized`` is written before the server looks for the database, the role and a free slot: a session may
be both authorized and refused.

Limitations: a server that refuses an option of its own command line says so as a session does, and where the log does
not say which process wrote it (stderr without %b), that is a session refused. Of a walsender, a lost connection is in
table ``replication`` only.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import RECORD, SESSION, Column

if TYPE_CHECKING:
    import polars as pl

_EVENTS = {
    "connection received: ": "received",
    "connection authenticated: ": "authenticated",
    "connection authorized: ": "authorized",
    "replication connection authorized: ": "authorized",
    "connection ready: ": "ready",
    "disconnection: ": "ended",
}
#: why a session was not let in: the words that the messages begin with
_REFUSED: dict[str, tuple[str, ...]] = {
    "too many clients": ("sorry, too many clients already", "remaining connection slots are reserved for "),
    "role limit": ('too many connections for role "',),
    "database limit": ('too many connections for database "',),
    "too many standbys": ("number of requested standby connections exceeds ",),
    "no hba entry": ("no pg_hba.conf entry for ",),
    "rejected by hba": ("pg_hba.conf rejects ", 'authentication failed for user "'),
    "password": ("password authentication failed for user ", "empty password returned by client"),
    "trust": ('"trust" authentication failed for user ',),
    "ident": ("Ident authentication failed for user ", "could not connect to Ident server at "),
    "peer": ("Peer authentication failed for user ",),
    "user name map": ('no match in usermap "', "provided user name ("),
    "ldap": (
        "LDAP authentication failed for user ", 'LDAP login failed for user "', 'LDAP user "',
        "could not perform initial LDAP bind ", "could not search LDAP ", "could not initialize LDAP",
        "could not start LDAP TLS session", "invalid character in user name for LDAP authentication",
    ),
    "gssapi": (
        "GSSAPI authentication failed for user ", "accepting GSS security context failed",
        "retrieving GSS user name failed", "could not accept GSSAPI security context",
    ),
    "sspi": ("SSPI authentication failed for user ", "could not accept SSPI security context"),
    "radius": ("RADIUS authentication failed for user ",),
    "pam": ("PAM authentication failed for user ", "pam_authenticate failed: ", "pam_acct_mgmt failed: "),
    "bsd": ("BSD authentication failed for user ",),
    "certificate": ("certificate authentication failed for user ", "connection requires a valid client certificate"),
    "oauth": ("OAuth bearer authentication failed for user ",),  # 18
    "no such role": ('role "', "role with OID "),
    "no such database": ('database "',),
    "database unusable": ('cannot connect to invalid database "', "database locale is incompatible with operating"),
    "no privilege": (
        'permission denied for database "', "must be superuser to connect ",
        "must be superuser or replication role to start walsender", "permission denied to start WAL sender",  # 16
    ),
    "starting up": ("the database system is starting up",),
    "shutting down": ("the database system is shutting down", "new replication connections are not allowed during "),
    "in recovery": ("the database system is in recovery mode",),
    "not accepting connections": (  # 14
        "the database system is not yet accepting connections", "the database system is not accepting connections",
    ),
    "authentication timeout": ("canceling authentication due to timeout",),
    "startup packet": (
        "invalid length of startup packet", "incomplete startup packet", "invalid startup packet layout",
        "no PostgreSQL user name specified in startup packet",
    ),
    "startup option": (
        'unrecognized configuration parameter "', 'invalid value for parameter "', 'parameter "',
        'permission denied to set parameter "',
    ),
    "encryption": (
        "could not accept SSL connection: ", "could not initialize SSL connection: ",
        "received unencrypted data after ", "received direct SSL connection request ",  # 17
    ),
    "protocol": (
        "unsupported frontend protocol ", "expected password response", "expected SASL response",
        "expected GSS response", "expected SSPI response", "invalid password packet size",
        "client selected an invalid SASL ", "malformed SCRAM message", "invalid SCRAM response",
        "malformed OAUTHBEARER message",
    ),
    "cancel request": ("wrong key in cancel request for process ", "PID "),
}  # fmt: skip
#: what is behind the name of a role or a database, where it is not that there is none
_BEHIND_NAMES = {
    '" is not permitted to log in': "role may not log in",
    '" is not currently accepting connections': "database closed",
}
#: why a session ended otherwise than the client asked for
_LOST: dict[str, tuple[str, ...]] = {
    "could not send": ("could not send data to client: ",),
    "could not receive": ("could not receive data from client: ",),
    "unexpected EOF": (
        "unexpected EOF on client connection", "unexpected EOF within message length word",
        "incomplete message from client",
    ),
    "connection lost": ("connection to client lost",),
    "encryption": ("SSL error: ", "GSSAPI wrap error", "GSSAPI unwrap error", "oversize GSSAPI packet sent by "),
    "protocol": (
        "terminating connection because protocol synchronization was lost", "invalid frontend message type ",
        "invalid message length",
    ),
    "administrator command": ("terminating connection due to administrator command",),
    "idle in transaction timeout": ("terminating connection due to idle-in-transaction timeout",),
    "idle session timeout": ("terminating connection due to idle-session timeout",),  # 14
    "transaction timeout": ("terminating connection due to transaction timeout",),  # 17
    "recovery conflict": ("terminating connection due to conflict with recovery",),
    "postmaster exit": ("terminating connection due to unexpected postmaster exit",),
}  # fmt: skip
#: of those, the words that are another type's too: of a session at FATAL only
_OTHERS = (
    'unrecognized configuration parameter "', 'invalid value for parameter "', 'parameter "',
    *_REFUSED["too many standbys"], *_LOST["recovery conflict"], *_LOST["postmaster exit"],
)  # fmt: skip
_REFUSED_OF = {words: why for why, all_ in _REFUSED.items() for words in all_}
_LOST_OF = {words: why for why, all_ in _LOST.items() for words in all_}
_EVENT_OF = {**_EVENTS, **dict.fromkeys(_REFUSED_OF, "refused"), **dict.fromkeys(_LOST_OF, "lost")}
#: the longest first: the engine takes the first that fits
_BEGINNING = "|".join(re.escape(words) for words in sorted(_EVENT_OF, key=len, reverse=True))
#: events in the order in which a session writes them; the last messages of one that failed come in any order
_PLACES = {"received": 1, "authenticated": 2, "authorized": 3, "ready": 4, "refused": 5, "lost": 5, "ended": 6}


def _also() -> pl.Expr:
    """Sessions in the words of another type; the postmaster's own are not."""
    import polars as pl

    message = pl.col("message")
    is_session = pl.col("backend_type").fill_null("") != "postmaster"
    by_text = pl.any_horizontal([message.str.starts_with(words) for words in _OTHERS])
    return (pl.col("severity") == "FATAL") & is_session & by_text


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    seconds = (
        pl.col("hours").cast(pl.Float64) * 3600
        + pl.col("minutes").cast(pl.Float64) * 60
        + pl.col("seconds").cast(pl.Float64)
    )
    words, is_authorized = pl.col("event"), pl.col("event") == "authorized"
    named = pl.when(words.is_in(['role "', 'database "'])).then("message")
    behind = pl.coalesce(pl.when(named.str.ends_with(end)).then(pl.lit(why)) for end, why in _BEHIND_NAMES.items())
    said_hba = pl.concat_str(pl.col("said_hba_file").fill_null("pg_hba.conf"), pl.lit(":"), "said_hba_line")
    return {
        "refusal": pl.coalesce(behind, words.replace_strict(_REFUSED_OF, default=None, return_dtype=pl.String)),
        "lost_because": words.replace_strict(_LOST_OF, default=None, return_dtype=pl.String),
        "event": words.replace_strict(_EVENT_OF, default=None, return_dtype=pl.String),
        # the other messages do not say
        "is_replication": pl.when(is_authorized).then("is_replication"),
        "is_ssl": pl.when(is_authorized).then("is_ssl"),
        "hba_line": pl.coalesce("hba_line", said_hba),
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
    "hba_line": Column("line of pg_hba.conf that let it in, or that it matched and failed"),
    "session_s": Column("how long the session lasted, as the server says", float, "s"),
    "setup_ms": Column("time to set the session up, from version 18", float, "ms"),
    "fork_ms": Column("time to start its process", float, "ms"),
    "authentication_ms": Column("time to authenticate", float, "ms"),
}
_WHY = {
    "refusal": Column(f"why it was not let in: {', '.join([*_REFUSED, *_BEHIND_NAMES.values()])}"),
    "lost_because": Column(f"why it ended otherwise than the client asked for: {', '.join(_LOST)}"),
}
_TIMES = {
    "received_at": Column("when the connection came in", datetime),
    "authenticated_at": Column("when it was authenticated, from version 14", datetime),
    "authorized_at": Column("when it was authorized (it may be refused yet); null: not, or not logged", datetime),
    "ready_at": Column("when it was ready for queries, from version 18", datetime),
    "refused_at": Column("when the server refused it; null: it did not", datetime),
    "lost_at": Column("when the client was lost or the server broke it off; null: neither was logged", datetime),
    "ended_at": Column("when the session ended; null: it had not, or that is not logged", datetime),
}
_SESSION_COLUMNS = {name: column for name, column in SESSION.items() if name != "logged_at"}
_SAID = ("said_user", "said_database", "said_application", "said_host", "said_hba_file", "said_hba_line")

MESSAGE = MessageType(
    table="connection",
    one_row_per="session",
    process="backend",
    severities=("LOG", "FATAL"),
    starts_with=tuple(words for words in _EVENT_OF if words not in _OTHERS),
    also=_also,
    patterns=(
        rf"^(?P<event>{_BEGINNING})",
        r"^(?P<is_replication>replication) connection",
        r"^connection received: host=(?P<said_host>\S+)(?: port=(?P<client_port>\d+))?",
        # 14 identity, 17 user where the method trusts
        r'^connection authenticated: (?:identity|user)="(?P<authenticated_identity>(?s:.*))" method=(?P<authentication_method>\S+)(?: \((?P<hba_line>.*)\))?$',  # noqa: E501
        # names without blanks first: a pattern that leaves no choice is read several times as fast
        r"^connection authorized: user=(?P<said_user>[^ ]*) database=(?P<said_database>[^ ]*)(?: application_name=(?P<said_application>[^(]*))?$",  # noqa: E501
        r"^connection authorized: user=(?P<said_user>(?s:.*?))(?: database=(?P<said_database>(?s:.*?)))?(?: application_name=(?P<said_application>.*?))?(?: SSL enabled \(.*\))?(?: GSS \(.*\))?$",  # noqa: E501
        r"^replication connection authorized: user=(?P<said_user>(?s:.*?))(?: database=(?P<said_database>(?s:.*?)))?(?: application_name=(?P<said_application>.*?))?(?: SSL enabled \(.*\))?(?: GSS \(.*\))?$",  # noqa: E501
        # at the end only: an application may call itself that; 12 and 13 add compression
        r" (?P<is_ssl>SSL) enabled \(protocol=(?P<ssl_protocol>[^,]*), cipher=(?P<ssl_cipher>[^,]*), [^()]*\)(?: GSS \(.*\))?$",  # noqa: E501
        r"^connection ready: setup total=(?P<setup_ms>[\d.]+) ms, fork=(?P<fork_ms>[\d.]+) ms, authentication=(?P<authentication_ms>[\d.]+) ms",  # noqa: E501  18
        r"^disconnection: session time: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+) user=(?P<said_user>[^ ]*) database=(?P<said_database>[^ ]*) host=(?P<said_host>[^ ]+)(?: port=(?P<client_port>\d+))?$",  # noqa: E501
        r"^disconnection: session time: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+) user=(?P<said_user>(?s:.*)) database=(?P<said_database>(?s:.*)) host=(?P<said_host>\S+?)(?: port=(?P<client_port>\d+))?$",  # noqa: E501
        # SSL on or off to 13; neither where the server knows no TLS
        r'^(?:no pg_hba\.conf entry for|pg_hba\.conf rejects) (?:(?:replication )?connection (?:for|from) )?host "(?P<said_host>[^"]*)", user "(?P<said_user>(?s:.*?))"(?:, database "(?P<said_database>(?s:.*?))")?(?:, (?:SSL|GSS|no) (?:on|off|encryption))?$',  # noqa: E501
        r'^(?:role|too many connections for role|(?:"?[A-Za-z]+"?(?: bearer)? )?authentication failed for user) "(?P<said_user>(?s:.*?))"(?:$|: | does not exist$| is not permitted to log in$)',  # noqa: E501
        r'^(?:too many connections for |permission denied for |cannot connect to invalid )?database "(?P<said_database>(?s:.*?))"(?:$| does not exist$| is not currently accepting connections$)',  # noqa: E501
    ),
    detail_patterns=(  # to 15 without the name of the file
        r'(?m)^Connection matched (?:file "(?P<said_hba_file>.*?)"|pg_hba\.conf) line (?P<said_hba_line>\d+): "',
    ),
    columns={
        "event": Column("received, authenticated, authorized, ready, refused, lost or ended"),
        "severity": RECORD.columns["severity"],
        **_WHY,
        **_OF_SESSION,
        **{name: Column("as the message says it") for name in (*_SAID, "hours", "minutes", "seconds")},
    },
    derive=_derive,
    view=f"""
    with
    placed as (
        select *,
            case event {" ".join(f"when '{event}' then {place}" for event, place in _PLACES.items())} end as place
        from {{stored}}
    ),
    ordered as (
        select *,
            lag(place) over messages as before_place,
            lag(logged_at) over messages as before_at,
            lag(severity) over messages as before_severity
        from placed
        window messages as (partition by server, pid order by logged_at, source_id, line_no)
    ),
    numbered as (
        select *,
            count(*) filter (
                before_place is null
                or place < before_place
                or (place = before_place and place <> {_PLACES["lost"]})
                -- several say how a session failed, in a row and only one of them FATAL; later the pid is another's
                or (place = before_place and severity = 'FATAL' and before_severity = 'FATAL')
                or (place = before_place and logged_at > before_at + interval 1 minute)
                -- it began after the message before; times may be whole seconds
                or logged_at - to_milliseconds(session_s * 1000) > before_at + interval 1 second
            ) over (partition by server, pid order by logged_at, source_id, line_no) as nth
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
        -- the last word of the server; of a lost client the first tells the cause, what follows the consequence
        last(refusal order by logged_at, source_id, line_no) filter (refusal is not null) as refusal,
        first(lost_because order by logged_at, source_id, line_no) filter (lost_because is not null) as lost_because,
        {", ".join(f"max({name}) as {name}" for name in _OF_SESSION)}
    from numbered
    group by server, coalesce(session_id, pid || '#' || nth, source_id || '#' || line_no)
    """,
    view_columns={
        "logged_at": Column("first message of the session", datetime),
        **_SESSION_COLUMNS,
        **_TIMES,
        **_WHY,
        **_OF_SESSION,
    },
)
