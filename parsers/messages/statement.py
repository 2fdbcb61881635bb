"""Statements with a duration: log_duration, log_min_duration_statement, log_statement and auto_explain.

One execution may be written as one line (``duration: … ms  statement: …``), as two (``statement: …`` and
a bare ``duration: … ms``), and once more by auto_explain (``duration: … ms  plan:``) just before. It is one row here.
The files have a row for every plan too, so that a plan's execution is known (see table plan): one that repeats an
execution names the record of that one, and the view leaves it out.
Source: exec_simple_query, exec_parse_message, exec_bind_message and exec_execute_message in
src/backend/tcop/postgres.c, fastpath.c, contrib/auto_explain/auto_explain.c.

Limitations: two lines of one execution are matched by pid and order, which is all a log offers.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pgtrace.message import Joined, MessageType
from pgtrace.plantext import parts_of
from pgtrace.schema import ORIGIN, SESSION, Column

_LABEL = r"(?s)^(?P<phase>statement|parse|bind|execute fetch from|execute|fastpath function call)(?: (?P<name>[^/]*)(?:/(?P<portal>.*))?)?$"  # noqa: E501
_PHASES = {"execute fetch from": "fetch", "fastpath function call": "fastpath"}
#: a duration line follows its plan at once; what waits longer than this, or behind so many others, is a row by itself
_LONGEST_WAIT = timedelta(minutes=1)
_MOST_WAITING = 20_000
#: of a plan that repeats an execution, the record of that one
_EXECUTION_COLUMNS = ("execution_source_id", "execution_line_no")
_EXECUTION = [pl.col(name.removeprefix("execution_")).alias(name) for name in _EXECUTION_COLUMNS]


def read(records: pl.DataFrame) -> pl.DataFrame:
    """One row per record: durations, plans (``logged_by`` plan), and statements without a duration (null duration)."""
    rows = records.lazy().with_columns(pl.col("message").str.starts_with("duration: ").alias("timed"))
    rows = rows.with_columns(pl.when("timed").then(pl.col("message").str.slice(10).str.splitn(" ms", 2)).alias("parts"))
    rest = pl.when("timed").then(pl.col("parts").struct.field("field_1").str.slice(2)).otherwise("message")
    rows = rows.with_columns(
        pl.col("parts").struct.field("field_0").cast(pl.Float64, strict=False).alias("duration_ms"), rest.alias("rest")
    ).drop("parts")
    rows = rows.with_columns(
        pl.col("rest").str.splitn(": ", 2).alias("labelled"), pl.col("rest").str.starts_with("plan:").alias("is_plan")
    )
    read_rows = (
        rows.with_columns(
            pl.col("labelled").struct.field("field_0").alias("label"),
            pl.col("labelled").struct.field("field_1").alias("statement"),
        )
        .drop("labelled")
        .collect()
    )
    labels = read_rows["label"].unique().to_frame()
    labels = labels.with_columns(pl.col("label").str.extract_groups(_LABEL).alias("read")).unnest("read")
    labels = labels.with_columns(pl.col("phase").replace(_PHASES), _named("name"), _named("portal"))
    read_rows = read_rows.join(labels, on="label", how="left", maintain_order="left")
    read_rows = _plans_read(read_rows)
    detail = pl.col("detail") if "detail" in records.columns else pl.lit(None, pl.String)
    is_function = pl.col("phase") == "fastpath"
    return read_rows.with_columns(
        pl.when(pl.col("rest") == "").then(pl.lit("none")).otherwise("phase").alias("phase"),
        pl.when(is_function).then("rest").otherwise("statement").alias("statement"),
        pl.when("is_plan").then(pl.lit("plan")).when("timed").then(pl.lit("duration")).alias("logged_by"),
        pl.col("name").alias("statement_name"),
        pl.col("portal").alias("portal_name"),
        detail.str.extract(r"(?s)^[Pp]arameters: (.*)$").alias("parameters"),
        detail.str.extract(r"(?s)^prepare: (.*)$").alias("prepared_as"),
        (pl.col("logged_at") - pl.duration(microseconds=pl.col("duration_ms") * 1000)).alias("started_at"),
    ).filter(pl.col("logged_by").is_null() | pl.col("duration_ms").is_not_null())


def _named(column: str) -> pl.Expr:
    return pl.when(~pl.col(column).is_in(["<unnamed>", ""])).then(column).alias(column)


def _plans_read(rows: pl.DataFrame) -> pl.DataFrame:
    """The SQL inside an auto_explain plan, whichever auto_explain.log_format wrote it."""
    where = rows["is_plan"].fill_null(False).arg_true()
    if where.is_empty():
        return rows
    parts = parts_of(rows["message"].gather(where))
    found = parts.select(where.cast(pl.UInt32).alias("row"), "statement", pl.lit("execute").alias("phase"))
    return rows.with_row_index("row").update(found, on="row", include_nulls=True).drop("row")


def join(rows: pl.DataFrame, errors: pl.DataFrame, waiting: pl.DataFrame | None) -> Joined:
    """One row of all the lines that tell of one execution, and one of each plan that repeats it.

    ``rows`` are those of ``read`` in the order of the log, ``errors`` the ``pid, line_no`` of failed statements,
    ``waiting`` what the part of the log before this one left open: statements whose duration, and plans whose
    duration line, may yet come (and the last execution of each process, whose plan may).
    """
    is_whole = (rows["logged_by"].eq_missing("duration") & rows["phase"].ne("none")).all()
    if is_whole and (waiting is None or waiting["is_over"].all()):
        return Joined(rows, None, _last_runs(rows, waiting))
    lines = pl.concat([rows, errors.with_columns(pl.lit("error").alias("logged_by"))], how="diagonal").sort("line_no")
    if waiting is not None:
        lines = pl.concat([waiting, lines], how="diagonal")
    is_run = (pl.col("logged_by") == "duration") & ~pl.col("phase").is_in(["parse", "bind"])
    lines = lines.with_columns(
        is_run.fill_null(False).alias("is_run"),
        (pl.col("logged_by") == "plan").fill_null(False).alias("is_plan"),
        pl.col("logged_by").is_null().alias("is_text"),
    )
    lines = _with_texts(lines.with_row_index("at"))
    lines = _with_plans_matched(lines)
    is_last = pl.col("at") == pl.col("at").filter(~pl.col("is_plan")).max().over("pid")
    is_recent = (pl.col("logged_at") >= pl.col("logged_at").max() - _LONGEST_WAIT) & (
        pl.col("at") >= lines.height - _MOST_WAITING
    )
    lines = lines.with_columns(
        (pl.col("is_plan") & ~pl.col("is_again") & pl.col("next_at").is_null() & is_recent).alias("is_open"),
        (pl.col("is_run") & ~pl.col("is_matched") & is_last).alias("is_over_next"),
        (pl.col("is_text") & is_last).alias("is_waiting_text"),
    )
    done = lines.filter(
        pl.col("logged_by").is_in(["duration", "plan"]) & ~pl.col("is_over").fill_null(False) & ~pl.col("is_open")
    )
    left = lines.filter(pl.col("is_open") | pl.col("is_over_next") | pl.col("is_waiting_text")).tail(_MOST_WAITING)
    left = left.with_columns(pl.col("is_over_next").alias("is_over")).select(rows.columns)
    open_rows = left.filter(pl.col("logged_by") == "plan")
    return Joined(done.select(rows.columns), open_rows if open_rows.height else None, left if left.height else None)


def _last_runs(rows: pl.DataFrame, waiting: pl.DataFrame | None) -> pl.DataFrame:
    """The last execution of each process: its plan may be the next thing that is written."""
    runs = rows.filter(~pl.col("phase").is_in(["parse", "bind"])).with_columns(pl.lit(True).alias("is_over"))
    both = runs if waiting is None else pl.concat([waiting, runs], how="diagonal")
    return both.unique("pid", keep="last", maintain_order=True).tail(_MOST_WAITING)


def _with_texts(lines: pl.DataFrame) -> pl.DataFrame:
    """A bare duration line takes the text of the line just before it, where that is a statement of its process."""
    names = ("statement", "fingerprint", "statement_name", "portal_name", "parameters", "prepared_as")
    others = lines.filter(~pl.col("is_plan"))
    takes = (pl.col("phase") == "none") & pl.col("is_text").shift(1).over("pid")
    taken = others.with_columns(
        pl.when(takes).then(pl.col(name).shift(1).over("pid")).otherwise(name).alias(name) for name in names
    )
    return pl.concat([taken, lines.filter("is_plan")]).sort("at")


def _with_plans_matched(lines: pl.DataFrame) -> pl.DataFrame:
    """Find the plans of executions that have a duration line: ``is_again``; ``is_matched`` is that line.

    A simple query's plan comes before its duration line, within the time that this one spans; a portal's plan may come
    after it, when the portal is closed.
    """
    is_end = ~pl.col("is_plan") & (pl.col("is_run") | pl.col("is_text") | (pl.col("logged_by") == "error"))
    text = pl.col("statement").str.strip_chars()
    lines = lines.with_columns(
        text.alias("text"), pl.when(is_end.fill_null(True)).then("at").backward_fill().over("pid").alias("next_at")
    )
    following = lines.select(
        pl.col("at").alias("next_at"),
        pl.col("text").alias("next_text"),
        pl.col("prepared_as").str.strip_chars().alias("next_prepared"),
        pl.col("started_at").alias("next_started"),
        *_EXECUTION,
    )
    plans = lines.drop(_EXECUTION_COLUMNS).filter("is_plan")
    plans = plans.join(following, on="next_at", how="left", maintain_order="left")
    is_told = (pl.col("text") == pl.col("next_text")) | (pl.col("text") == pl.col("next_prepared"))
    is_within = pl.col("logged_at") >= pl.col("next_started") - _tolerance(lines)
    before = plans.filter(is_told.fill_null(False) & is_within)
    lines = lines.with_columns(
        pl.col("at").is_in(before["at"].implode()).alias("is_again"),
        (pl.col("at").is_in(before["next_at"].implode()) & pl.col("is_run")).alias("is_matched"),
    )
    rest = lines.filter(
        pl.col("text").is_not_null()
        & ((pl.col("is_run") & ~pl.col("is_matched")) | (pl.col("is_plan") & ~pl.col("is_again")))
    )
    follows = pl.col("is_run").shift(1).over("pid", "text").fill_null(False)
    last = [expression.shift(1).over("pid", "text") for expression in _EXECUTION]
    after = rest.select("at", "is_plan", follows.alias("follows"), *last).filter("is_plan", "follows")
    told = pl.concat([before.select("at", *_EXECUTION_COLUMNS), after.select("at", *_EXECUTION_COLUMNS)])
    lines = lines.drop(_EXECUTION_COLUMNS).join(told, on="at", how="left", maintain_order="left")
    return lines.with_columns(pl.col("execution_line_no").is_not_null().alias("is_again"))


def _tolerance(lines: pl.DataFrame) -> pl.Expr:
    """Times are rounded to the millisecond, or to the second (%t)."""
    in_seconds = (lines["logged_at"].drop_nulls().dt.microsecond() == 0).all()
    return pl.duration(milliseconds=1000 if in_seconds else 2)


_COLUMNS = {
    "query_id": Column("query identifier (compute_query_id), 0 is none", int),
    "started_at": Column("when it started: logged_at less the duration", datetime),
    "duration_ms": Column("how long it took", float, "ms"),
    "phase": Column("statement, parse, bind, execute, fetch, fastpath; none: a bare duration line"),
    "logged_by": Column("duration: its own line; plan: auto_explain alone"),
    "statement": Column("the SQL as logged, null for a bare duration whose statement was not logged"),
    "fingerprint": Column("shape of the SQL (see table query)"),
    "statement_name": Column("prepared statement, null where unnamed"),
    "portal_name": Column("portal, null where unnamed"),
    "parameters": Column("parameter values as logged"),
}

MESSAGE = MessageType(
    table="statement",
    one_row_per="execution with a duration",
    process="backend",
    starts_with=("duration: ", "statement: ", "execute ", "fastpath function call: "),
    columns={
        **_COLUMNS,
        "execution_source_id": Column("of a plan that repeats an execution, the file of that one's record"),
        "execution_line_no": Column("of a plan that repeats an execution, the line of that one's record", int),
    },
    keeps=SESSION,
    read_with=read,
    join_with=join,
    join_columns={
        "prepared_as": Column("the PREPARE behind an EXECUTE (DETAIL)"),
        "is_over": Column("already a row; kept to recognise its plan", bool),
    },
    # a plan that repeats an execution is not counted as one
    view=f"select server, {', '.join([*ORIGIN, *SESSION, *_COLUMNS])} from {{stored}} where execution_line_no is null",
    view_columns={**SESSION, **_COLUMNS},
)
