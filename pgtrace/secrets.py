r"""Passwords, tokens and keys in texts of a log, masked before anything is written: the secret becomes ``*****``.

What is known: PASSWORD in role statements; connection strings and URIs (dblink, subscriptions, primary_conninfo);
options of servers and user mappings; ldapbindpasswd and radiussecrets; parameters, columns and JSON keys whose name
holds password, passwd, pwd, passphrase, secret, token, credential, api_key or private_key; set_config; keys of
pgcrypto; ``curl -u``, ``--password=``, PGPASSWORD, ``Authorization:``; AWS keys. A literal that is cut off is masked
to its end.

Quick where there is nothing: few patterns that are looked for as literals choose the rows, a rule's own pattern those
of them that it changes, and only these are rewritten.

Limitations: a value is only known by what stands beside it. Not masked are bind parameters (``$1 = '…'`` in DETAIL),
rows in DETAIL and CONTEXT, arguments of functions of your own, and what a program joined from several literals.
``--redact`` leaves all of these out. A backslash ends no plain literal (standard_conforming_strings is on).
"""

from __future__ import annotations

import polars as pl

from pgtrace.secretrules import ENDS_OPEN, ENDS_WITH_NAME, FIRST_LITERAL, HIDDEN, MARKS, RULES, Rule, hidden

#: only rows that hold one of these are looked at; each alternation few enough to be found as literals (Teddy), which
#: is ten times as fast as an automaton, and without Unicode's case folding, which PostgreSQL's keywords do not know
MAY_HOLD = (
    r"(?i-u)passw|secret|token|://|crypt|hmac|credential|api[-_]?key",
    r"(?i-u)curl|authorization",
    r"(?i-u)pwd|passphrase|private_key",
)

#: columns of a record that hold text of people
_TEXTS = ("message", "detail", "hint", "context", "statement", "internal_query", "memory_contexts")


def masked(*columns: pl.Series) -> list[pl.Series]:
    """Texts with ``*****`` in place of every secret; its quotes stay, so SQL stays SQL. Null stays null.

    All columns at once: making the patterns costs as much as using them on a thousand texts.
    """
    places = [may_hold(texts) for texts in columns]
    found = pl.concat([texts.gather(rows).alias("") for texts, rows in zip(columns, places, strict=True)])
    if found.is_empty():
        return list(columns)
    of_rows, distinct = found, found.unique()
    found = _masked_texts(distinct)
    known = pl.DataFrame({"text": distinct, "now": found})
    found = of_rows.to_frame("text").join(known, on="text", how="left", maintain_order="left")["now"]
    result = []
    for texts, rows in zip(columns, places, strict=True):
        result.append(_put(texts, rows, found.head(rows.len())) if rows.len() else texts)
        found = found.slice(rows.len())
    return result


def may_hold(texts: pl.Series) -> pl.Series:
    """Places of the texts that hold one of the words that secrets stand beside."""
    holds = pl.any_horizontal(pl.col("text").str.contains(word) for word in MAY_HOLD)
    if texts.null_count() * 2 < texts.len():
        return texts.to_frame("text").select(holds.arg_true()).to_series()
    where = texts.is_not_null().arg_true()
    return where.filter(texts.gather(where).to_frame("text").select(holds).to_series())


#: what texts became; with placeholders in place of constants the same come again and again
_known: dict[str, str] = {}
_MOST_KNOWN = 20_000
#: longer ones are not kept
_LONGEST_KNOWN = 4_096


def _masked_texts(distinct: pl.Series) -> pl.Series:
    """Each text masked; those that were seen before are looked up."""
    texts = distinct.to_list()
    new = [text for text in texts if text not in _known]
    if not new:
        return pl.Series([_known[text] for text in texts], dtype=pl.String)
    found = pl.Series(new, dtype=pl.String)
    small = _joined(found).lower()
    for rule in RULES:
        # marks come and go with the rules, all other words are there from the beginning
        if not rule.needs or any(word.encode() in (_joined(found) if word in MARKS else small) for word in rule.needs):
            found = _applied(rule, found)
    now = dict(zip(new, found.to_list(), strict=True))
    masked_texts = pl.Series([now[text] if text in now else _known[text] for text in texts], dtype=pl.String)
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    _known.update({text: masked for text, masked in now.items() if len(text) <= _LONGEST_KNOWN})
    return masked_texts


def _joined(texts: pl.Series) -> bytes:
    joined: bytes = texts.str.join("\n").cast(pl.Binary).item()
    return joined


def _applied(rule: Rule, texts: pl.Series) -> pl.Series:
    rows = texts.str.contains(rule.gate or rule.pattern).arg_true()
    if rows.is_empty():
        return texts
    found = texts.gather(rows)
    for _ in range(rule.times):
        found = found.str.replace_all(rule.pattern, rule.replacement)
    return _put(texts, rows, found)


def mask_records(records: pl.DataFrame) -> pl.DataFrame:
    """The records with every text masked; also the piece of a statement that an error quotes."""
    texts = [records[name] for name in _TEXTS if records[name].null_count() < records.height]
    if not texts:
        return records
    return _with_quoted_hidden(records.with_columns(masked(*texts)), records["statement"])


def _with_quoted_hidden(records: pl.DataFrame, statements: pl.Series) -> pl.DataFrame:
    """``syntax error at or near "…"`` shows what may be masked in the statement: it is in it no more then."""
    rows = (records["statement"] != statements).fill_null(False).arg_true()
    if rows.is_empty():
        return records
    quoted = pl.col("message").str.extract(r'(?s)^[^"]*"(.+)"')
    was, now = (
        pl.col("before").str.contains(quoted, literal=True),
        pl.col("statement").str.contains(quoted, literal=True),
    )
    hidden = pl.col("message").str.replace(r'(?s)".*"', f'"{HIDDEN}"')
    messages = (
        records.select("message", "statement")
        .gather(rows)
        .with_columns(statements.gather(rows).alias("before"))
        .select(pl.when(was & ~now).then(hidden).otherwise("message").alias("message"))["message"]
    )
    return records.with_columns(_put(records["message"], rows, messages))


def mask_unparsed(lines: pl.DataFrame) -> pl.DataFrame:
    """The unparsed lines masked; a literal that ends on the next line, or begins there, is masked there too."""
    if lines.is_empty():
        return lines
    texts = lines["text"]
    [before] = masked(texts)
    if before is texts:  # none of the lines holds a word
        return lines
    follows = pl.col("line_no") == pl.col("line_no").shift(1) + 1
    is_open = (before.str.contains(ENDS_OPEN) & (before != lines["text"])).alias("is_open")
    is_named = before.str.contains(ENDS_WITH_NAME).alias("is_named")
    frame = lines.with_columns(before, is_open, is_named)
    # a line without a quote goes on with what is open
    goes_on = pl.when("is_open").then(True).when(pl.col("text").str.contains("'", literal=True)).then(False)
    frame = frame.with_columns(
        goes_on.forward_fill().shift(1).fill_null(False).alias("goes_on"), follows.alias("follows")
    )
    text = pl.col("text")
    rest = text.str.replace(r"\A[^']*('|\z)", f"{HIDDEN}${{1}}")
    first = text.str.replace(FIRST_LITERAL, f"${{1}}{hidden(2)}")
    follows_name = pl.col("is_named").shift(1).fill_null(False)
    return frame.with_columns(
        pl.when(pl.col("goes_on") & pl.col("follows"))
        .then(rest)
        .when(follows_name & pl.col("follows"))
        .then(first)
        .otherwise(text)
        .alias("text")
    ).select(lines.columns)


def _put(values: pl.Series, rows: pl.Series, others: pl.Series) -> pl.Series:
    """``values`` with ``others`` at ``rows``."""
    places = pl.int_range(values.len(), dtype=pl.UInt32, eager=True)
    new = pl.int_range(values.len(), values.len() + rows.len(), dtype=pl.UInt32, eager=True)
    return pl.concat([values, others.alias(values.name)]).gather(places.scatter(rows, new))
