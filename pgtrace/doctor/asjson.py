"""Diagnoses and logging advice as JSON: keys that stay, described in docs/doctor.md and docs/logging.md."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pgtrace.doctor.examine import Diagnosis
from pgtrace.doctor.logadvice import LoggingAdvice

#: of the shape below; raised when a key goes or changes its meaning
VERSION = 1


def diagnoses_json(diagnoses: list[Diagnosis]) -> dict[str, Any]:
    """All servers; ``wrong`` says whether any question is answered yes."""
    return {
        "version": VERSION,
        "wrong": any(one.is_wrong for one in diagnoses),
        "servers": [_diagnosis(one) for one in diagnoses],
    }


def _diagnosis(one: Diagnosis) -> dict[str, Any]:
    return {
        "server": one.server,
        "first_at": _time(one.first_at),
        "last_at": _time(one.last_at),
        "wrong": one.is_wrong,
        "answers": {
            answer.key: {
                "question": answer.question,
                "answer": answer.verdict,
                "basis": answer.basis,
                "summary": answer.summary,
                "process": answer.process,
                "kind": answer.kind,
                "evidence": [{"text": item.text, **_plain(dict(item.numbers))} for item in answer.evidence],
                "next_step": answer.next_step,
                "would_tell": list(answer.would_tell),
            }
            for answer in one.answers
        },
        "memory": _plain(asdict(one.memory)),
        "pooling": _plain(asdict(one.pooling)),
        "settings": [_plain(asdict(advice)) for advice in one.advice],
        "notes": list(one.notes),
    }


def logging_json(advised: list[LoggingAdvice]) -> dict[str, Any]:
    """All servers, with the commands in order."""
    return {
        "version": VERSION,
        "servers": [
            {
                "server": one.server,
                "server_version": one.version,
                "settings": [_plain(asdict(setting)) for setting in one.settings],
                "log_line_prefix": None if one.prefix is None else _plain(asdict(one.prefix)),
                "snapshot": one.snapshot,
                "commands": list(one.commands),
            }
            for one in advised
        ],
    }


def _plain(value: Any) -> Any:
    """Tuples as lists and times as ISO 8601 in UTC, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return _time(value) if isinstance(value, datetime) else value


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
