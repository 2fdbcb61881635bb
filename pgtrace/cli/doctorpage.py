"""The page of ``pgtrace doctor``: four answers first, then what they rest on, then memory, pooling and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.cli.page import moment, one_line
from pgtrace.units import size_text

if TYPE_CHECKING:
    from rich.console import Console

    from pgtrace.doctor import Answer, Diagnosis
    from pgtrace.doctor.memory import Memory
    from pgtrace.doctor.pooling import Pooling

_STYLES = {"yes": "bold red", "no": "green", "cannot tell": "yellow"}
_MOST_EVIDENCE = 5


def print_diagnoses(console: Console, diagnoses: list[Diagnosis]) -> None:
    """Print the page of every server."""
    if not diagnoses:
        console.print("There is no message of any server in this span, so nothing can be told.")
    for place, diagnosis in enumerate(diagnoses):
        if place:
            console.print()
        span = (
            f"{moment(diagnosis.first_at)} to {moment(diagnosis.last_at)} UTC" if diagnosis.first_at else "no message"
        )
        console.print(f"{diagnosis.server}: {span}", style="bold")
        console.print()
        _print_answers(console, diagnosis.answers)
        _print_memory(console, diagnosis.memory)
        _print_pooling(console, diagnosis.pooling)
        _print_settings(console, diagnosis)
        for note in diagnosis.notes:
            console.print(f"Note: {note}.")


def _print_answers(console: Console, answers: tuple[Answer, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for answer in answers:
        basis = " (inferred)" if answer.basis == "inferred" and answer.verdict == "yes" else ""
        text = Text(one_line(answer.summary))
        table.add_row(
            Text(answer.question, style="bold"), Text(answer.verdict + basis, style=_STYLES[answer.verdict]), text
        )
    console.print(table)
    console.print()
    for answer in answers:
        if answer.verdict != "no":
            _print_answer(console, answer)


def _print_answer(console: Console, answer: Answer) -> None:
    """What a yes rests on and what to do; of a cannot tell, what would tell."""
    from rich.padding import Padding

    console.print(answer.question, style="bold")
    lines = []
    if answer.verdict == "yes":
        if answer.process is not None:
            lines.append(f"Responsible: {answer.process}" + (f", {answer.kind}" if answer.kind else ""))
        said = [item.text for item in answer.evidence[:_MOST_EVIDENCE]]
        lines += [f"- {one_line(text)}" for text in said if not answer.summary.startswith(text)]
    if answer.next_step:
        lines.append(f"Next: {one_line(answer.next_step)}")
    if answer.would_tell:
        more = "Would tell" if answer.verdict == "cannot tell" else "Would tell more"
        lines.append(f"{more}: {', '.join(answer.would_tell)} (pgtrace doctor --logging)")
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2)))
    console.print()


def _print_memory(console: Console, memory: Memory) -> None:
    from rich.padding import Padding
    from rich.table import Table

    from pgtrace.doctor.memory import FORMULAS

    console.print("Memory", style="bold")
    if memory.ceiling_bytes is not None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(ratio=1)
        for name, size in memory.parts.items():
            table.add_row(size_text(size), FORMULAS[name])
        table.add_row(size_text(memory.ceiling_bytes), "together: the ceiling", style="bold")
        console.print(Padding(table, (0, 0, 0, 2)))
        console.print(
            Padding(f"operations: {memory.operations:g} at once in a session, {memory.operations_basis}", (0, 0, 0, 2))
        )
    for note in memory.notes:
        console.print(Padding(f"- {one_line(note)}", (0, 0, 0, 2)))
    console.print()


def _print_pooling(console: Console, pooling: Pooling) -> None:
    from rich.padding import Padding

    console.print("Pooling", style="bold")
    says = {
        "yes": "A connection pooler would help",
        "no": "No need of a connection pooler",
        "cannot tell": "Cannot tell",
    }
    console.print(Padding(f"{says[pooling.verdict]}: {'; '.join(pooling.reasons)}", (0, 0, 0, 2)))
    row = pooling.numbers
    if row and row["active_max"] is not None:
        sessions = (
            ""
            if row["sessions_max"] is None
            else f"{row['sessions_p50']:.0f} / {row['sessions_p95']:.0f} / {row['sessions_max']:.0f} sessions open, "
        )
        console.print(
            Padding(
                f"At once, median / 95 % / most: {sessions}"
                f"{row['active_p50']:.1f} / {row['active_p95']:.1f} / {row['active_max']:.1f} executions",
                (0, 0, 0, 2),
            )
        )
    for hint in pooling.hints:
        console.print(Padding(hint, (0, 0, 0, 4)))
    if pooling.would_tell:
        console.print(Padding(f"Would tell: {', '.join(pooling.would_tell)}", (0, 0, 0, 2)))
    console.print()


def _print_settings(console: Console, diagnosis: Diagnosis) -> None:
    from rich.padding import Padding

    console.print("Settings that the evidence argues against", style="bold")
    if not diagnosis.advice:
        console.print(Padding("None in this log.", (0, 0, 0, 2)))
    reloads = False
    for advice in diagnosis.advice:
        current = f" (now {advice.current})" if advice.current is not None else ""
        console.print(Padding(f"{advice.setting}{current}: {one_line(advice.evidence)}", (0, 0, 0, 2)))
        for command in advice.commands:
            console.print(Padding(one_line(command), (0, 0, 0, 4)), style="bold")
        notes = [advice.note] if advice.note else []
        notes += ["needs a restart"] if advice.takes == "restart" else []
        reloads = reloads or any(command.startswith("ALTER SYSTEM") for command in advice.commands)
        if notes:
            console.print(Padding(one_line("; ".join(notes)), (0, 0, 0, 4)))
    if reloads:
        console.print(Padding("select pg_reload_conf();", (0, 0, 0, 4)), style="bold")
    console.print()
