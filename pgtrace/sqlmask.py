"""Statement texts without their constants, whole columns at a time.

One pattern without captures masks every text; the few distinct masked texts then show where it may have mistaken a
comment, a quoted or a dollar-quoted text, and only the rows behind those are masked again by a pattern that knows
every token. Up to its first mistake a mask is right, and what is mistaken leaves its first character or a mark there.

Limitations: standard_conforming_strings is taken to be on (a backslash ends no plain string); block comments nest one
level deep; a dollar quote with a tag that is not among the common ones must not hold another ``$tag$``. Where one of
these misleads the mask, the text still has one fingerprint, but a constant or a piece of body may tell two apart.
"""

from __future__ import annotations

import polars as pl

#: stands for a constant in a masked text; a character that no SQL holds
MARK = "\x1a"

#: as PostgreSQL's scanner has it (scan.l): every character beyond ASCII is a letter
_LETTER = r"[A-Za-z_\x{80}-\x{10FFFF}]"
_WORD = r"[A-Za-z0-9_\x{80}-\x{10FFFF}]"
_STRING = r"'[^']*(?:''[^']*)*'"
_ESCAPED = r"[eE]'(?:[^'\\]|\\.|'')*'"
_UNICODE = rf"[uU]&{_STRING}(?:\s*(?i:uescape)\s*'[^']*')?"
_WHOLE = r"[0-9][0-9_]*"  # underscores: version 16
_NUMBER = rf"0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|{_WHOLE}(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?"
#: \b of ASCII only, as the Unicode one leaves the fast automaton at the first letter beyond ASCII
_CONSTANT = (
    rf"(?-u:\b)[bBxXnN]{_STRING}|(?-u:\b)(?:{_UNICODE}|{_ESCAPED})|{_STRING}"
    rf"|(?-u:\b)(?:{_NUMBER})|\.[0-9]+(?:[eE][+-]?[0-9]+)?|\$[0-9]+"
)
_FAST = rf"(?s){_CONSTANT}"

#: Rust's regular expressions have no backreference: tags that bodies are commonly quoted with, then any tag
_TAGS = ("", "body", "BODY", "function", "FUNCTION", "func", "fn", "_", "do", "DO", "proc", "procedure", "code")
_DOLLAR = "|".join(rf"\${tag}\$.*?\${tag}\$" for tag in _TAGS)
_ANY_TAG = rf"\${_LETTER}{_WORD}*\$(?:[^$]|\$+[^$A-Za-z_\x{{80}}-\x{{10FFFF}}])*\$+{_LETTER}{_WORD}*\$"
_INNER_COMMENT = r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/"
_COMMENT = rf"(--)[^\n]*|(/\*)(?:[^*/]|\*+[^*/]|/+[^*/]|/*{_INNER_COMMENT})*/*\*+/"
_FIRST_COMMENT = r"\A\s*/\*[^*]*\*/"
_LAST_COMMENT = r"/\*[^*]*\*/[\s;]*\z"
#: kept: quoted identifiers, and words with digits or dollars inside
_NUMBERED_WORD = rf"{_LETTER}{_WORD}*[0-9$](?:{_WORD}|\$)*"
_KEPT = rf'("[^"]*"|{_NUMBERED_WORD})'
#: what a cut leaves: the opening quote is kept, so that the text is not taken for a whole one
_CUT_OFF = rf"((?-u:\b)[eE]'|['\"]|\$(?:{_LETTER}{_WORD}*)?\$).*\z"
_CAREFUL = rf"(?s){_KEPT}|{_COMMENT}|{_DOLLAR}|{_ANY_TAG}|{_CONSTANT}|{_CUT_OFF}"

_UNMARK = ((rf"(?:--|/\*){MARK}", " "), (f'"{MARK}', '"'), (rf"({_NUMBERED_WORD}){MARK}", "${1}"))
#: a masked text in which the fast pattern may have mistaken a comment, a quoted or dollar-quoted text or a word
_DOUBTFUL = rf"""--|/\*|[$']|(?:{_WORD}|"){MARK}"""
_QUOTES_ARE_WHOLE = rf'^[^"]*(?:"[^"{MARK}]*"[^"]*)*$'

_CAST = r'(?:::[\w."]+(?: varying| precision)?(?:\(\x1a(?:,\s*\x1a)*\))?(?:\[\])*)?'
_ITEM = rf"(?:{MARK}{_CAST}|(?i:default|current_\w+)|[\w.]+\(\s*(?:{MARK}(?:\s*,\s*{MARK})*)?\s*\))"
_ROW = rf"\(\s*{_ITEM}(?:\s*,\s*{_ITEM})*\s*\)"
_MORE = " /*, ... */"  # as pg_stat_statements writes it from version 18 on
_BLANK = r"[ \t\n\r\f\v]"  # those of PostgreSQL's scanner; others are letters to it
_CONSTANT_WORD = (r"([(,\[]\s*)(?i:null|true|false)(\s*[\]),])", f"${{1}}{MARK}${{2}}")
#: (pattern, replacement) on masked texts, in this order
_COLLAPSE = (
    (rf"{MARK}{_BLANK}*\n{_BLANK}*{MARK}", MARK),  # 'a' 'b' on two lines are one string
    (rf'({_WORD}|"){MARK}', f"${{1}} {MARK}"),
    (rf"{MARK}({_WORD})", f"{MARK} ${{1}}"),
    (rf"((?:[=<>+*/%(,\[|-]|\b(?i:and|or|not|then|else|when|limit|offset|select))\s*)[-+]\s*{MARK}", f"${{1}}{MARK}"),
    _CONSTANT_WORD,
    _CONSTANT_WORD,  # again, for the second of two neighbours
    (
        rf"(\b(?i:in)\s*\(|\b(?i:array)\s*\[)\s*({MARK}{_CAST})(?:\s*,\s*{MARK}{_CAST})+\s*([)\]])",
        f"${{1}}${{2}}{_MORE}${{3}}",
    ),
    (rf"(\b(?i:values)\s*{_ROW})(?:\s*,\s*{_ROW})+", f"${{1}}{_MORE}"),
)
#: blanks inside a quoted identifier are part of it, so such a text keeps all of its own
_BLANKS_MATTER = r'"[^"]*(?:\s\s|[^\S ])[^"]*"'


def mask(texts: pl.Series) -> pl.Series:
    """SQL texts with ``MARK`` in place of every constant and parameter, without comments, lists cut to one element.

    Null stays null; nothing raises. Length and notation of a constant leave no trace, nor does the length of a
    list of two elements or more (``IN``, ``ARRAY``, rows of ``VALUES``), nor a ``;`` at the end.
    """
    masked, distinct = mask_distinct(texts)
    return masked.replace_strict(distinct["masked"], distinct["text"], return_dtype=pl.String())


def mask_distinct(texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Constants masked row by row, and for each distinct ``masked`` value of these its final ``text``.

    Lists are cut and blanks tidied on the distinct values only, of which there are few.
    """
    texts = texts.cast(pl.String())
    if texts.str.contains(MARK, literal=True).any():
        texts = texts.str.replace_all(MARK, " ", literal=True)
    masked = texts.str.replace_all(_FAST, MARK)
    distinct = masked.drop_nulls().unique()
    for again in (_mask_without_comments, _mask_carefully):
        is_doubtful = distinct.str.contains(_DOUBTFUL) | ~distinct.str.contains(_QUOTES_ARE_WHOLE)
        if not is_doubtful.any():
            break
        rows = masked.is_in(distinct.filter(is_doubtful).implode()).arg_true()
        masked = _put(masked, rows, again(texts.gather(rows)))
        distinct = masked.drop_nulls().unique()
    return masked, pl.DataFrame({"masked": distinct, "text": _collapsed(distinct)})


def _mask_without_comments(texts: pl.Series) -> pl.Series:
    """One comment at either end, where sqlcommenter and its kind put theirs: one is whole if the text is."""
    return texts.str.replace(_FIRST_COMMENT, "").str.replace(_LAST_COMMENT, "").str.replace_all(_FAST, MARK)


def _mask_carefully(texts: pl.Series) -> pl.Series:
    """Masked by the pattern that knows every token; it captures, and so is some five times as slow."""
    texts = texts.str.replace_all(_CAREFUL, f"${{1}}${{2}}${{3}}${{4}}{MARK}")
    # every match has left a mark: comments become a blank, what was kept loses its mark again
    for pattern, replacement in _UNMARK:
        texts = texts.str.replace_all(pattern, replacement)
    return texts


def _put(values: pl.Series, rows: pl.Series, others: pl.Series) -> pl.Series:
    """``values`` with ``others`` at ``rows``."""
    numbers = pl.int_range(values.len(), dtype=pl.UInt32, eager=True)
    new = pl.int_range(values.len(), values.len() + rows.len(), dtype=pl.UInt32, eager=True)
    return pl.concat([values, others]).gather(numbers.scatter(rows, new))


def _collapsed(masked: pl.Series) -> pl.Series:
    for pattern, replacement in _COLLAPSE:
        masked = masked.str.replace_all(pattern, replacement)
    in_one_line = pl.col("text").str.replace_all(rf"{_BLANK}+", " ")
    tidy = pl.when(pl.col("text").str.contains(_BLANKS_MATTER)).then("text").otherwise(in_one_line)
    return pl.DataFrame({"text": masked}).select(tidy.str.strip_chars(" \t\n\r\f\v;").alias("text"))["text"]
