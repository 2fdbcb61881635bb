"""A log_line_prefix printed as ``log_status_format`` in PostgreSQL's elog.c prints it (version 18)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

ZONES = {"UTC": UTC, "IST": timezone(timedelta(hours=5, minutes=30)), "-03": timezone(timedelta(hours=-3))}


@dataclass(frozen=True)
class Client:
    """MyProcPort: what a backend knows of its client. Before the startup packet there are no names."""

    user: str = ""
    database: str = ""
    application: str = ""
    host: str = "[local]"
    port: str = ""
    local: str = "[local]"


@dataclass(frozen=True)
class Process:
    pid: int
    started: int
    backend_type: str
    client: Client | None = None
    command: str = ""
    vxid: str = ""
    xid: int = 0
    query_id: int = 0
    leader: str = ""


@dataclass(frozen=True)
class Event:
    """One call of log_status_format: a process writes its ``line_no``-th line."""

    process: Process
    at: float
    line_no: int
    severity: str = "LOG"
    text: str = "message"
    sqlstate: str = "00000"


def head(prefix: str, event: Event, zone: str = "UTC") -> str:
    """The line up to and with the severity."""
    return status(prefix, event, zone) + event.severity


def status(prefix: str, event: Event, zone: str = "UTC") -> str:
    printed = ""
    values = fields(event, zone)
    for token in re.finditer(r"%%|%(?P<pad>-?\d*)(?P<escape>.)|%|[^%]+", prefix, re.DOTALL):
        if token[0] == "%%":
            printed += "%"
        elif token["escape"] == "q":
            if event.process.client is None:
                return printed
        elif token["escape"] is not None:
            width = int(token["pad"].strip("-") or 0)
            value = values.get(token["escape"], "" if token["escape"] in values else None)
            if value is not None:
                fill = " " * (width - len(value.encode()))
                printed += value + fill if token["pad"].startswith("-") else fill + value
        elif token[0] != "%":
            printed += token[0]
    return printed


def fields(event: Event, zone: str = "UTC") -> dict[str, str]:
    """What every escape prints."""
    process, client = event.process, event.process.client
    of_client = dict.fromkeys("audrhi", "") | {"L": "[none]"}
    if client is not None:
        of_client = {
            "a": client.application or "[unknown]",
            "u": client.user or "[unknown]",
            "d": client.database or "[unknown]",
            "r": f"{client.host}({client.port})" if client.port else client.host,
            "h": client.host,
            "i": process.command,
            "L": client.local,
        }
    return of_client | {
        "b": process.backend_type,
        "p": str(process.pid),
        "P": process.leader,
        "l": str(event.line_no),
        "m": _time(event.at, zone, milliseconds=True),
        "t": _time(event.at, zone),
        "n": f"{event.at:.3f}",
        "s": _time(process.started, zone),
        "c": f"{process.started:x}.{process.pid:x}",
        "v": process.vxid,
        "x": str(process.xid),
        "e": event.sqlstate,
        "Q": str(process.query_id),
    }


def _time(seconds: float, zone: str, milliseconds: bool = False) -> str:
    moment = datetime.fromtimestamp(seconds, ZONES[zone])
    return (
        moment.strftime("%Y-%m-%d %H:%M:%S")
        + (f".{round(seconds * 1000) % 1000:03d}" if milliseconds else "")
        + f" {zone}"
    )


#: the names that the columns have
COLUMNS = {
    "a": "application_name", "u": "user_name", "d": "database_name", "h": "client_host", "b": "backend_type",
    "p": "pid", "P": "leader_pid", "l": "session_line_no", "c": "session_id", "v": "vxid", "x": "xid", "e": "sqlstate",
    "Q": "query_id", "i": "command_tag",
}  # fmt: skip


def columns(prefix: str, event: Event) -> dict[str, str]:
    """The columns that ``prefix`` prints for ``event``, with their values; "" is not said."""
    escapes = re.findall(r"%(?!%)-?\d*(.)", prefix.replace("%%", ""))
    stopped = escapes.index("q") if event.process.client is None and "q" in escapes else len(escapes)
    printed = fields(event)
    row: dict[str, str] = {}
    for place, escape in enumerate(escapes):
        if escape in COLUMNS:
            row.setdefault(COLUMNS[escape], printed[escape] if place < stopped else "")
        if escape == "r":
            client = event.process.client
            row.setdefault("client_host", client.host if client and place < stopped else "")
            row.setdefault("client_port", client.port if client and place < stopped else "")
    return row


def busy_server(now: float = 1795510661.303) -> Iterator[Event]:
    """What a server writes in some seconds: background processes, clients over TCP and the Unix socket, errors."""
    postmaster = Process(6242, int(now) - 3600, "postmaster")
    checkpointer = Process(6244, int(now) - 3600, "checkpointer")
    clients = (
        Client("app", "shop", "pgbench", "10.20.30.40", "51544", "10.0.0.1"),
        Client("app", "shop", "psql"),
        Client("reporting", "warehouse", "PostgreSQL JDBC Driver", "2001:db8::17", "41000", "2001:db8::1"),
        Client("postgres", "postgres", "pg_dump", "127.0.0.1", "33000", "127.0.0.1"),
        Client("ana-maria", "shop_2", "api.worker-7", "10.20.30.41", "51600", "10.0.0.1"),
    )
    yield Event(postmaster, now, 1, text="starting PostgreSQL 18.4 on x86_64-pc-linux-gnu")
    yield Event(checkpointer, now, 1, text="checkpoint starting: time")
    for number in range(15):
        client = clients[number % len(clients)]
        yield from _session(client, 9990 + 7 * number, now + 1 + number, number)
        worker = Process(20000 + number, int(now) + number, "autovacuum worker", vxid=f"{number}/{number + 5}")
        yield Event(worker, now + 1.5 + number, 1, text='automatic vacuum of table "shop.public.t": index scans: 0')
    yield Event(checkpointer, now + 20, 2, text="checkpoint complete: wrote 3 buffers (0.0%)")


def _session(client: Client, pid: int, at: float, number: int) -> Iterator[Event]:
    nobody = Client(host=client.host, port=client.port, local=client.local)
    process = Process(pid, int(at), "not initialized", nobody)
    port = f" port={client.port}" if client.port else ""
    yield Event(process, at, 1, text=f"connection received: host={client.host}{port}")
    process = replace(
        process,
        backend_type="client backend",
        command="authentication",
        client=replace(client, application=""),
        vxid=f"{number}/5",
    )
    who = f"user={client.user} database={client.database}"
    yield Event(process, at + 0.002, 2, text=f"connection authorized: {who} application_name={client.application}")
    process = replace(process, client=client, query_id=2424940597520090544 + number)
    for step, command in enumerate(("BEGIN", "INSERT", "SELECT", "idle in transaction")):
        process = replace(process, command=command, vxid=f"{number}/{6 + step}", xid=731 + number if step else 0)
        yield Event(process, at + 0.01 * step, 3 + step, text=f"duration: 0.0{step}1 ms  statement: select {step}")
    yield Event(process, at + 0.1, 7, "ERROR", "division by zero", "22012")
    yield Event(process, at + 0.1, 8, "STATEMENT", "select 1/0", "22012")
    process = replace(process, command="idle", vxid="", xid=0, query_id=0)
    yield Event(process, at + 0.2, 9, text=f"disconnection: session time: 0:00:00.200 {who} host={client.host}{port}")
