"""The log formats and message types that are installed, found by scanning ``pgtrace.parsers``.

A leaf is found by the constant it defines (``FORMAT`` or ``MESSAGE``); nothing is registered by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from pgtrace.logformat import Join, LogFormat
from pgtrace.message import MessageType
from pgtrace.schema import QUERY, RECORD, UNPARSED, Table


def _leaves(package_name: str) -> list[ModuleType]:
    package = importlib.import_module(package_name)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package_name}.{name}") for name in names]


@cache
def log_formats() -> dict[str, LogFormat]:
    """Log formats by name, in the order in which they are asked whether they know a file."""
    found = [leaf.FORMAT for leaf in _leaves("pgtrace.parsers.formats") if hasattr(leaf, "FORMAT")]
    return {log_format.name: log_format for log_format in sorted(found, key=lambda item: (item.rank, item.name))}


@cache
def message_types() -> dict[str, MessageType]:
    """Message types by table, in the order in which they read.

    First those that take records by their text, then those that read another's records too (behind that one), last
    those that take a whole severity.
    """
    found = [leaf.MESSAGE for leaf in _leaves("pgtrace.parsers.messages") if hasattr(leaf, "MESSAGE")]
    types = {message.table: message for message in sorted(found, key=lambda item: item.table)}

    def order(message: MessageType) -> tuple[bool, int]:
        depth = 0
        other = message
        while other.within is not None:
            depth, other = depth + 1, types[other.within]
        return (not other.starts_with and other.program is None, depth)

    return {message.table: message for message in sorted(types.values(), key=order)}


@cache
def tables() -> dict[str, Table]:
    """Every table that a log fills, by name: record, unparsed, query, one for each message type, those of formats."""
    types = {name: message.as_table for name, message in message_types().items()}
    own = {table.name: table for log_format in log_formats().values() for table in log_format.tables}
    return {"record": RECORD, "unparsed": UNPARSED, "query": QUERY, **dict(sorted({**types, **own}.items()))}


@cache
def joins() -> dict[str, Join]:
    """What joins rows across the parts of a log, by table."""
    found = {name: message.join_with for name, message in message_types().items() if message.join_with is not None}
    for log_format in log_formats().values():
        found.update(log_format.join_with)
    return found
