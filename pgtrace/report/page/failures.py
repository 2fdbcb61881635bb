"""Errors by class, what was cancelled, and what happened to the server itself."""

from __future__ import annotations

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table

_CLASSES, _MESSAGES, _CANCELLED, _EVENTS = 30, 40, 20, 30


def errors_section(lake: LakeHandle, span: Span) -> Section:
    """By class of the SQLSTATE, by message, and what was cancelled."""
    classes = ask(lake, span, "errors_by_class").head(_CLASSES)
    columns = [
        Column("severity", "Level"),
        Column("condition_class", "Class"),
        Column("messages", "Messages", "count"),
        Column("cancelled", "Cancelled", "count", "statements or sessions that were cancelled"),
        Column("conditions", "Conditions", "list"),
        Column("databases", "Databases", "count"),
        Column("users", "Roles", "count"),
        Column("first_at", "First", "time"),
        Column("last_at", "Last", "time"),
    ]
    content = None
    if classes.height:
        content = together(
            table(classes, columns, span, "Errors by class"),
            part("By message", _messages(lake, span), "Names and numbers are left out of the messages."),
            part("Cancelled", _cancelled(lake, span)),
        )
    return Section("errors", "Errors by class", "Errors", content, "No warning and no error was logged.")


def _messages(lake: LakeHandle, span: Span) -> Markup:
    columns = [
        Column("severity", "Level"),
        Column("message", "Message"),
        Column("messages", "Times", "count"),
        Column("condition", "Condition"),
        Column("example_query", "Query of one", "sql"),
        Column("last_at", "Last", "time"),
    ]
    return table(ask(lake, span, "errors", top=_MESSAGES), columns, span, "Errors by message")


def _cancelled(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "cancellations", top=_CANCELLED)
    if rows.is_empty():
        return None
    columns = [
        Column("cancelled_by", "Because of"),
        Column("query_text", "Query", "sql"),
        Column("cancellations", "Times", "count"),
        Column("is_session_ended", "Session ended", "yes"),
        Column("application_names", "Applications", "list"),
        Column("last_at", "Last", "time"),
    ]
    return table(rows, columns, span, "What was cancelled")


def server_section(lake: LakeHandle, span: Span) -> Section:
    """Crashes, and settings that changed."""
    crashes = ask(lake, span, "crashes").head(_EVENTS)
    changes = ask(lake, span, "parameter_changes").tail(_EVENTS)
    content = together(
        part("Crashes", _crashes(crashes, span)) if crashes.height else None,
        part("Settings that changed", _changes(changes, span)) if changes.height else None,
    )
    nothing = "It neither crashed nor were settings changed while it ran, as far as the log says."
    return Section("server", "The server itself", "Server", content, nothing)


def _crashes(rows: pl.DataFrame, span: Span) -> Markup:
    columns = [
        Column("noticed_at", "When", "time"),
        Column("server", "Server"),
        Column("process", "Process"),
        Column("process_pid", "Pid", "text"),
        Column("signal_name", "Signal"),
        Column("exit_code", "Exit code", "text"),
        Column("query_text", "It was running", "sql"),
        Column("redo_s", "Recovery", "s"),
        Column("outage_s", "Out for", "s", "until connections were accepted again"),
    ]
    return table(rows, columns, span, "Crashes")


def _changes(rows: pl.DataFrame, span: Span) -> Markup:
    columns = [
        Column("changed_at", "When", "time"),
        Column("server", "Server"),
        Column("parameter", "Setting"),
        Column("change", "Change"),
        Column("before", "Before"),
        Column("value", "Value"),
    ]
    return table(rows, columns, span, "Settings that changed")
