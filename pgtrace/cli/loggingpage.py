"""The page of ``pgtrace doctor --logging``: what is logged, what is missing for which answer, and the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.cli.page import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from pgtrace.doctor import LoggingAdvice
    from pgtrace.doctor.logadvice import LogSetting


def print_logging(console: Console, advised: list[LoggingAdvice]) -> None:
    """Print the page of every server."""
    if not advised:
        console.print("There is no message of any server in this span, so nothing can be told.")
    for place, advice in enumerate(advised):
        if place:
            console.print()
        version = f" (PostgreSQL {advice.version})" if advice.version is not None else " (version not in this log)"
        console.print(f"{advice.server}{version}: what is logged, and what is missing for which answer", style="bold")
        _print_table(console, advice)
        _print_prefix(console, advice)
        _print_commands(console, advice)


def _print_table(console: Console, advice: LoggingAdvice) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("state", max_width=20)
    table.add_column("for", ratio=2)
    table.add_column("cost", ratio=3)
    for setting in advice.settings:
        style = "" if setting.state in ("seen", "on") and not setting.commands else "bold"
        table.add_row(
            Text(setting.setting, style=style),
            Text(_state(setting)),
            Text(", ".join(setting.answers)),
            Text(setting.cost),
        )
    console.print(table)


def _state(setting: LogSetting) -> str:
    return setting.state if setting.current is None else f"{setting.state} ({one_line(setting.current, 40)})"


def _print_prefix(console: Console, advice: LoggingAdvice) -> None:
    prefix = advice.prefix
    if prefix is None:
        return
    console.print(f"log_line_prefix is '{prefix.prefix}'. {'Missing:' if prefix.missing else 'It has all that helps.'}")
    for escape, meaning in prefix.missing:
        console.print(f"  {escape}  {meaning}")
    if prefix.missing:
        console.print(f"  cost: {prefix.cost}")
        if not prefix.is_poor:
            console.print(f"  if that is worth it: {' '.join(prefix.commands)}")
    console.print()


def _print_commands(console: Console, advice: LoggingAdvice) -> None:
    if advice.commands:
        console.print("To have these answers (as a superuser, in psql):", style="bold")
        for command in advice.commands:
            console.print(f"  {command}")
    else:
        console.print("Everything that the answers need is in this log.", style="bold")
    for setting in advice.missing:
        if setting.is_for_a_while:
            console.print("Only for a while, as it costs much:", style="bold")
            console.print(f"  {'; '.join(setting.commands)} … later: ALTER SYSTEM RESET {setting.setting};")
    sessions = [setting.setting for setting in advice.missing if setting.takes == "new sessions"]
    if sessions:
        console.print(f"Sessions that begin after the reload have it: {', '.join(sessions)}.")
    console.print("None of this needs a restart.")
    if advice.snapshot is not None:
        console.print("Settings are not known from this log. A snapshot tells them (docs/snapshots.md):")
        console.print(f"  {advice.snapshot}")
