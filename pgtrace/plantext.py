"""Plans as auto_explain prints them, on whole columns: what stands around a plan, and its nodes.

Nodes are read of ``auto_explain.log_format`` text and json, of versions 12 to 18, with all that its other settings
add; of xml and yaml only the SQL and the plan as a text. Source: contrib/auto_explain/auto_explain.c,
src/backend/commands/explain.c.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pgtrace.planwords import JSON_KEYS, TEXT_KEYS, from_json, from_text

_HEAD = "^duration: ([0-9.]+) ms  plan:\n"
_STRING = r'"(?:[^"\\]|\\.)*"'
#: the top node is the last line that is not indented and has a cost: the SQL before it may hold a plan too
_TOP = r'[A-Z](?:[^\n"]+|"[^"]*")*?  \(cost=[0-9.]+ rows=[0-9]+ width=[0-9]+\)'
_TEXT = rf"(?s)^Query Text: (?P<statement>.*)\n(?P<plan_text>{_TOP}.*)$"
#: the same, with no quote left open behind it: the plan's constants may hold a plan as well
_TEXT_BALANCED = rf"""(?s)^Query Text: (?P<statement>.*)\n(?P<plan_text>{_TOP}(?:[^'"]+|'[^']*'|"[^"]*")*)$"""
_JSON = (
    rf'(?s)^\{{\n *"Query Text": (?P<statement>{_STRING}),\n(?: *"Query Parameters": (?P<parameters>{_STRING}),\n)?'
    r"(?P<plan_text>.*)$"
)
_YAML = (
    rf"(?s)^Query Text: (?P<statement>{_STRING})\n(?:Query Parameters: (?P<parameters>{_STRING})\n)?(?P<plan_text>.*)$"
)
_XML = (
    r"(?s)^<explain[^>]*>\n *<Query-Text>(?P<statement>.*?)</Query-Text>\n"
    r"(?: *<Query-Parameters>(?P<parameters>.*?)</Query-Parameters>\n)?(?P<plan_text>.*?)\n?(?:</explain>)?$"
)
_PATTERNS = {"json": _JSON, "xml": _XML, "yaml": _YAML, "text": _TEXT_BALANCED}
#: what PostgreSQL's escape_json prints, and no half of it
_WHOLE_STRING = r'^"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00[0-9a-f]{2})*"$'
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x0d;", "\r"), ("&amp;", "&"))
#: a line of a text plan: line ends within quotes belong to a constant or a name
_LINE = r"""(?:[^\n'"]+|'[^']*'|"[^"]*"|['"])+"""


def parts_of(messages: pl.Series) -> pl.DataFrame:
    """What each message of auto_explain says: duration_ms, format, statement, parameters, plan_text.

    ``format`` is text, json, xml or yaml; ``parameters`` are printed from version 16. ``plan_text`` is the plan without
    SQL and parameters. All are null for a message that is none of auto_explain's.
    """
    head = pl.col("message").str.extract(_HEAD, 0)
    rows = messages.to_frame("message").select(
        head.str.extract(_HEAD).cast(pl.Float64, strict=False).alias("duration_ms"),
        pl.col("message").str.slice(head.str.len_chars()),
    )
    rows = rows.with_columns(_format().alias("format"))
    for log_format, pattern in _PATTERNS.items():
        own = pl.when(pl.col("format") == log_format).then("message")
        rows = rows.with_columns(own.str.extract_groups(pattern).alias(log_format))
    unread = pl.when((pl.col("format") == "text") & pl.col("text").struct[0].is_null()).then("message")
    rows = rows.with_columns(unread.str.extract_groups(_TEXT).alias("loose"))
    places = (*_PATTERNS, "loose")
    statement = pl.coalesce(pl.col(place).struct.field("statement") for place in places)
    parameters = pl.coalesce(pl.col(place).struct.field("parameters") for place in ("json", "xml", "yaml"))
    plan = pl.coalesce(pl.col(place).struct.field("plan_text") for place in places)
    plan = pl.when(pl.col("format") == "json").then(pl.lit("{\n") + plan).otherwise(plan).alias("plan_text")
    rows = rows.select("duration_ms", "format", statement.alias("statement"), parameters.alias("parameters"), plan)
    return rows.with_columns(_plain("statement"), _plain("parameters"))


def _format() -> pl.Expr:
    text = pl.col("message")
    return (
        pl.when(text.str.starts_with("{"))
        .then(pl.lit("json"))
        .when(text.str.starts_with("<explain"))
        .then(pl.lit("xml"))
        .when(text.str.starts_with('Query Text: "'))  # no SQL begins with a quote
        .then(pl.lit("yaml"))
        .when(text.is_not_null())
        .then(pl.lit("text"))
    )


def _plain(column: str) -> pl.Expr:
    """SQL or parameters as they were before the format wrote them its own way."""
    said = pl.col(column)
    is_json, is_xml = pl.col("format").is_in(["json", "yaml"]), pl.col("format") == "xml"
    # in the text the parameters follow the SQL without any quotes (16)
    apart = pl.when(pl.col("format") == "text").then("statement").str.splitn("\nQuery Parameters: $1 = ", 2)
    of_text = apart.struct[0] if column == "statement" else "$1 = " + apart.struct[1]
    of_xml: pl.Expr = pl.when(is_xml).then(said)
    for entity, sign in _ENTITIES:
        of_xml = of_xml.str.replace_all(entity, sign, literal=True)
    of_json = _decoded(pl.when(is_json).then(said))
    return pl.when(is_json).then(of_json).when(is_xml).then(of_xml).otherwise(of_text).alias(column)


def _decoded(text: pl.Expr) -> pl.Expr:
    """A string of json without its quotes; decoding is slow, and few have escapes in them."""
    escaped = text.str.contains("\\", literal=True)
    escaped &= pl.when(escaped).then(text).str.contains(_WHOLE_STRING)
    bare = text.str.strip_prefix('"').str.strip_suffix('"')
    return pl.when(escaped).then(pl.when(escaped).then(text).str.json_decode(pl.String)).otherwise(bare)


def nodes_of(plans: pl.DataFrame) -> pl.DataFrame:
    """The nodes of ``plans`` (columns format, plan_text), one row each, in order.

    ``plan`` is the number of the row in ``plans``; ``node_no`` counts from 1 within it, ``depth`` from 0, ``parent_no``
    is null for the top. All other columns are those of ``planwords``, numbers still as text.
    """
    found = []
    if (json := _json_lines(plans).filter(section="Plan")).height:
        found.append(from_json(_json_nodes(json)))
    if (text := _text_lines(plans).filter(section="Plan")).height:
        found.append(from_text(_text_nodes(text)))
    if not found:
        return pl.DataFrame(schema={"plan": pl.UInt32, "node_no": pl.Int64})
    return _with_parents(pl.concat(found, how="diagonal_relaxed").sort("plan", maintain_order=True))


def extras_of(plans: pl.DataFrame) -> pl.DataFrame:
    """What is printed behind the nodes, one row per plan in order: settings, query_id, jit_ms, trigger_ms."""
    value, text = pl.col("value"), pl.col("text")
    setting = pl.concat_str("key", pl.lit(" = '"), _decoded(value), pl.lit("'"))
    of_json = (
        _json_lines(plans)
        .filter(pl.col("section") != "Plan")
        .group_by("plan")
        .agg(
            setting.filter(section="Settings", indent=4).str.join(", ").alias("settings"),
            value.filter(key="Query Identifier", indent=2).first().alias("query_id"),
            value.filter(section="JIT", indent=6, key="Total").first().alias("jit_ms"),
            value.filter(section="Triggers", indent=6, key="Time").cast(pl.Float64, strict=False).alias("times"),
        )
    )
    of_text = (
        _text_lines(plans)
        .filter(pl.col("section") != "Plan")
        .with_columns(
            text.str.extract("(?s)^Settings: (.*)$").alias("settings"),
            text.str.extract("^Query Identifier: (-?[0-9]+)$").alias("query_id"),
            pl.when(section="JIT").then(text.str.extract("^Timing: .*Total ([0-9.]+) ms")).alias("jit_ms"),
            text.str.extract("(?s)^Trigger.*: time=([0-9.]+) calls=").cast(pl.Float64, strict=False).alias("times"),
        )
        .group_by("plan")
        .agg(pl.col("settings", "query_id", "jit_ms").drop_nulls().first(), pl.col("times").drop_nulls())
    )
    both = pl.concat([of_json, of_text], how="diagonal_relaxed")
    total = pl.when(pl.col("times").list.len() > 0).then(pl.col("times").list.sum().round(3))
    both = both.with_columns(total.alias("trigger_ms"), pl.col("settings").replace("", None)).drop("times")
    numbered = plans.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("plan"))
    return numbered.join(both, on="plan", how="left", maintain_order="left").drop("plan")


def _of_format(plans: pl.DataFrame, log_format: str) -> pl.DataFrame:
    own = plans.with_row_index("plan").filter(pl.col("plan_text").is_not_null(), format=log_format)
    return own.select("plan", pl.col("plan_text").alias("text"))


def _indented(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines without the blanks before them, which are counted."""
    bare = pl.col("text").str.strip_chars_start(" ")
    return lines.with_columns(
        bare, (pl.col("text").str.len_bytes() - bare.str.len_bytes()).cast(pl.Int32).alias("indent")
    )


def _json_lines(plans: pl.DataFrame) -> pl.DataFrame:
    """Lines of plans in json, which has one property on each: plan, text, indent, key, value, section.

    ``section`` is the property of the whole that the line is within, as Plan, Settings, JIT.
    """
    lines = _of_format(plans, "json").with_columns(pl.col("text").str.split("\n")).explode("text")
    lines = _indented(lines).with_columns(pl.col("text").str.splitn('": ', 2).alias("pair"))
    lines = lines.with_columns(
        pl.col("pair").struct.field("field_0").str.strip_prefix('"').alias("key"),
        pl.col("pair").struct.field("field_1").str.strip_suffix(",").alias("value"),
    ).drop("pair")
    outer = pl.when(pl.col("indent") == 2).then("key").when(pl.col("indent") < 2).then(pl.lit(""))
    return lines.with_columns(outer.forward_fill().alias("section"))


def _json_nodes(lines: pl.DataFrame) -> pl.DataFrame:
    """A node is a brace before "Node Type"; its properties are indented by two more, and come before its children."""
    opens = pl.col("text").str.ends_with("{") & (pl.col("key").shift(-1) == "Node Type")
    lines = lines.with_columns(opens.alias("opens"))
    lines = lines.with_columns(
        pl.col("opens").cast(pl.UInt32).cum_sum().alias("node"),
        pl.when("opens").then("indent").forward_fill().alias("node_indent"),
    )
    is_property = (pl.col("indent") == pl.col("node_indent") + 2) & pl.col("key").is_in(JSON_KEYS)
    values = lines.filter(is_property).select("node", "key", _decoded(pl.col("value")).alias("value"))
    nodes = lines.filter("opens").select("node", "plan", "indent", (pl.col("indent") + 4).alias("inner"))
    return _with_properties(nodes, values, JSON_KEYS)


def _text_lines(plans: pl.DataFrame) -> pl.DataFrame:
    """Lines of plans in text: plan, text, indent, section, is_top. Of what follows the nodes nothing is indented."""
    lines = _of_format(plans, "text").with_columns(pl.col("text").str.extract_all(_LINE)).explode("text")
    lines = _indented(lines.drop_nulls("text"))
    is_top = pl.col("plan").ne_missing(pl.col("plan").shift(1))
    outer = (
        pl.when(is_top)
        .then(pl.lit("Plan"))
        .when(pl.col("indent") == 0)
        .then(pl.col("text").str.extract("^([^:]*)").fill_null(""))
    )
    return lines.with_columns(outer.forward_fill().alias("section"), is_top.alias("is_top"))


def _text_nodes(lines: pl.DataFrame) -> pl.DataFrame:
    """A node is a line with an arrow, or the first; its properties are below it and come before its children.

    A subplan's name is a line of its own, and moves the arrow below it by two.
    """
    is_node = pl.col("is_top") | pl.col("text").str.starts_with("->  ")
    is_subplan = ~pl.col("is_top") & ~is_node.shift(1) & (pl.col("indent").shift(1) == pl.col("indent") - 2)
    lines = lines.with_columns(
        is_node.alias("is_node"),
        pl.when(is_node & is_subplan).then(pl.col("text").shift(1)).alias("subplan_name"),
        pl.when(pl.col("is_top")).then(2).otherwise(pl.col("indent") + 6).alias("inner"),
    )
    lines = lines.with_columns(
        pl.col("is_node").cast(pl.UInt32).cum_sum().alias("node"),
        pl.when("is_node").then("inner").forward_fill().alias("node_inner"),
        pl.col("text").str.extract("^([A-Z][A-Za-z/ ]*):").alias("key"),
    )
    is_property = (pl.col("indent") == pl.col("node_inner")) & pl.col("key").is_in(TEXT_KEYS)
    values = lines.filter(is_property & ~pl.col("is_node")).select("node", "key", pl.col("text").alias("value"))
    nodes = lines.filter("is_node").select(
        "node", "plan", "indent", "inner", "subplan_name", pl.col("text").str.strip_prefix("->  ")
    )
    return _with_properties(nodes, values, TEXT_KEYS)


def _with_properties(nodes: pl.DataFrame, values: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    wide = values.pivot(on="key", on_columns=keys, index="node", values="value", aggregate_function="first")
    return nodes.join(wide, on="node", how="left", maintain_order="left")


def _with_parents(nodes: pl.DataFrame) -> pl.DataFrame:
    """A node's parent is the last one before it within which it is indented; the top is indented within none.

    One step per level of indentation, over all plans at once: a plan's top is within reach of every level.
    """
    indent, inner = nodes["indent"].to_numpy(), nodes["inner"].to_numpy()
    numbers = np.arange(nodes.height)
    is_top = (nodes["plan"] != nodes["plan"].shift(1)).fill_null(True).to_numpy()
    top = np.maximum.accumulate(np.where(is_top, numbers, 0))
    parent, depth = np.full(nodes.height, -1), np.zeros(nodes.height, dtype=np.int64)
    for level in np.unique(indent[~is_top]):
        at = np.flatnonzero((indent == level) & ~is_top)
        reach = np.maximum.accumulate(np.where((inner <= level) | is_top, numbers, 0))
        parent[at] = reach[at]
        depth[at] = depth[reach[at]] + 1
    return nodes.with_columns(
        pl.Series("node_no", numbers - top + 1),
        pl.Series("parent_no", parent - top + 1),
        pl.Series("depth", depth),
    ).with_columns(pl.when(pl.col("depth") > 0).then("parent_no").alias("parent_no"))
