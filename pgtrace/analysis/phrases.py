"""Kinds of events as a sentence names them."""

from __future__ import annotations

_PHRASES = {
    "checkpoint": "checkpoints",
    "checkpoint write": "the writing of checkpoints",
    "checkpoint sync": "the syncing of checkpoints",
    "since redo": "the time just after a checkpoint begins (full page images)",
    "restartpoint": "restartpoints",
    "vacuum": "autovacuum",
    "vacuum, same relation": "autovacuum of the same table",
    "analyze": "autoanalyze",
    "lock wait": "waits for locks",
    "temporary files": "queries that write temporary files",
    "connection storm": "connection storms",
    "heavy query": "a heavy query beside them",
    "WAL burst": "bursts of WAL",
    "full page image burst": "bursts of full page images",
    "archive failed": "failures of the archiver",
    "recovery conflict": "recovery conflicts",
    "deadlock": "deadlocks",
    "reload": "reloads of the configuration",
}


def phrase(kind: str) -> str:
    """``waits for locks`` for ``lock wait``; a kind without words of its own as it is called."""
    name, series = kind.removesuffix(" series"), kind.endswith(" series")
    return _PHRASES.get(name, name) + (", many in a row" if series else "")
