"""A section of the page: a heading and what is under it; where there is nothing, one line says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgtrace.report.missing import NEEDED
from pgtrace.report.page.markup import Markup, join, paragraph, tag, text


@dataclass(frozen=True, slots=True)
class Section:
    """``id`` for links, ``short`` for the bar at the top; ``content`` is None where the section has nothing."""

    id: str
    title: str
    short: str
    content: Markup | None
    #: where it has nothing: what there is none of, and the tables that would have it
    nothing: str = ""
    tables: Sequence[str] = ()

    def html(self) -> Markup:
        """The section as HTML."""
        heading = tag("h2", text(self.title), id=f"{self.id}-title")
        if self.content is not None:
            return tag(
                "section", [heading, self.content], id=self.id, class_="card", aria_labelledby=f"{self.id}-title"
            )
        needs = f"They need {'; '.join(self.settings())}." if self.settings() else ""
        why = paragraph(f"{self.nothing} {needs}".strip())
        return tag("section", [heading, why], id=self.id, class_="card empty", aria_labelledby=f"{self.id}-title")

    def settings(self) -> list[str]:
        """What would have filled it."""
        return list(dict.fromkeys(setting for table in self.tables if (setting := NEEDED.get(table)) is not None))


def part(title: str, content: Markup | None, note: str | None = None) -> Markup:
    """A part of a section, with a heading of its own; nothing where it has no content."""
    if content is None:
        return Markup("")
    return join([tag("h3", text(title)), paragraph(note, "none") if note else Markup(""), content])


def together(*parts: Markup | None) -> Markup | None:
    """The parts that are there; None where there are none."""
    found = [one for one in parts if one]
    return join(found) if found else None


def folded(summary: str, content: Markup) -> Markup:
    """Content to open."""
    return tag("details", [tag("summary", text(summary)), content], class_="more")
