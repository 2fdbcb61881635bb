"""HTML out of texts that cannot be trusted.

Every text goes through ``text``; what is already HTML is ``Markup``, a type of its own, so that mypy tells the two
apart. Characters that would not be seen, or that would turn the ones beside them round, are shown by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import NewType

#: text that is HTML, escaped where it had to be
Markup = NewType("Markup", str)

#: longest text that a page shows whole
LONGEST = 4_000

# C0 and C1 controls but for tab and newline; zero width, directions and line separators; tags; surrogates and
# noncharacters. Letters of right-to-left scripts are none of these: each text is a direction of its own (dir="auto").
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)


def visible(value: str, longest: int = LONGEST) -> str:
    """``value`` with unseen characters by name (``⟨U+202E⟩``), cut at ``longest`` characters with a note of it."""
    cut = value if len(value) <= longest else value[:longest]
    shown = _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", cut.replace("\r\n", "\n"))
    return shown if cut is value else f"{shown} … ({len(value):,} characters)"


def text(value: object, longest: int = LONGEST) -> Markup:
    """Any text as HTML that shows it."""
    return Markup(escape(visible(str(value), longest), quote=True))


def tag(name: str, content: Markup | Iterable[Markup] = Markup(""), **attributes: object) -> Markup:
    """An element. Attributes are escaped; ``class_`` is ``class``, ``data_from`` is ``data-from``; None leaves out,
    True is an attribute without a value.
    """
    inner = content if isinstance(content, str) else "".join(content)
    return Markup(f"<{name}{_attributes(attributes)}>{inner}</{name}>")


def join(parts: Iterable[Markup], between: str = "") -> Markup:
    """Pieces of HTML in a row."""
    return Markup(between.join(parts))


def paragraph(words: str, class_: str | None = None) -> Markup:
    """A paragraph of plain text."""
    return tag("p", text(words), class_=class_)


def _attributes(given: dict[str, object]) -> str:
    parts = []
    for key, value in given.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {name}")
        elif value is not None and value is not False:
            parts.append(f' {name}="{text(value)}"')
    return "".join(parts)
