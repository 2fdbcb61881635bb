"""The shape of an answer: a verdict, the evidence, who is responsible, what to do, and what would tell more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sentence, and the numbers in it by name; the unit is the end of the name, as in columns of tables."""

    text: str
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one of the four questions.

    ``basis``: ``measured`` where the server itself wrote down what was asked about, ``inferred`` where it follows from
    something else, None where there is no verdict. ``would_tell``: settings that would show what this log does not.
    """

    key: str
    question: str
    verdict: str
    summary: str
    basis: str | None = None
    process: str | None = None
    kind: str | None = None
    evidence: tuple[Evidence, ...] = ()
    next_step: str | None = None
    would_tell: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting that the evidence argues against, and the commands that change it.

    ``takes``: ``reload``, ``restart`` or ``at once`` (commands on tables).
    """

    setting: str
    current: str | None
    suggested: str
    evidence: str
    commands: tuple[str, ...]
    takes: str = "reload"
    note: str | None = None


def alter_system(setting: str, value: str) -> str:
    """The command that changes a setting: ``ALTER SYSTEM SET work_mem = '16MB';``."""
    return f"ALTER SYSTEM SET {setting} = '{value}';"
