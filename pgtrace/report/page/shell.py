"""The page as one document: styles, scripts and data in it, and a policy that lets nothing else in.

The Content-Security-Policy names the scripts and the style by their hashes, so that a script which came in with a text
of the log, had it slipped through the escaping, would not run; and no address may be loaded from. Vega's expressions
are interpreted (``ast``), which needs no eval.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from pgtrace.errors import PgtraceError
from pgtrace.report.page.markup import Markup, join, tag, text


def document(title: str, body: Markup, spec: dict[str, Any], datasets: dict[str, Any]) -> str:
    """The whole page. ``spec`` and ``datasets`` are of the timeline; without it the charting scripts are left out."""
    style, theme, page = asset("style.css"), asset("theme.js"), asset("page.js")
    scripts = [*([vega_script()] if spec else []), page]
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(_hash(script) for script in [theme, *scripts])}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    head = [
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="generator" content="pgtrace">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        tag("title", text(title)),
        Markup(f"<style>{style}</style>"),
        Markup(f"<script>{theme}</script>"),
    ]
    data = [_json("chart-spec", spec), _json("chart-data", datasets)] if spec else []
    rest = [body, *data, *(Markup(f"<script>{script}</script>") for script in scripts)]
    top, bottom = join(head, "\n"), join(rest, "\n")
    return f'<!doctype html>\n<html lang="en">\n<head>\n{top}\n</head>\n<body>\n{bottom}\n</body>\n</html>\n'


def json_text(value: Any) -> str:
    """JSON that ends no script element and is valid JavaScript: ``<``, ``>``, ``&``, U+2028 and U+2029 as escapes."""
    dumped = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return dumped


@cache
def asset(name: str) -> str:
    """A file of this package that becomes part of a page."""
    return _embeddable(name, files("pgtrace.report.page").joinpath(name).read_text(encoding="utf-8"))


@cache
def vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, as vl-convert carries them: the page needs no network."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    try:
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    except ValueError as error:
        wanted = f"Vega-Lite {version}, which Altair {altair.__version__} writes"
        raise PgtraceError(f"the charts need a vl-convert-python that has {wanted}: {error}") from None
    return _embeddable("Vega", f"(()=>{{{bundle}\n}})();")


def _embeddable(name: str, content: str) -> str:
    """The text, if it can stand within a script or style element as it is; the hash is of exactly that."""
    lowered = content.lower()
    if "</script" in lowered or "</style" in lowered or "<!--" in lowered or "\0" in content:
        raise PgtraceError(f"{name}: cannot be part of a page, it holds a closing tag")
    return content.replace("\r\n", "\n").replace("\r", "\n")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json(id_: str, value: Any) -> Markup:
    return Markup(f'<script type="application/json" id="{id_}">{json_text(value)}</script>')
