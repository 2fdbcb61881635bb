"""Reads values out of a TOML file, with errors that name the file, the line, the key and the nearest valid one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pgtrace.errors import UsageError

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]\]?")
_KEY = re.compile(r"\s*[\"']?([\w.-]+)[\"']?\s*=")
_TYPES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


class Lines:
    """On which line a key of a table stands; tomllib does not tell."""

    def __init__(self, text: str):
        self._lines: dict[tuple[str, int, str], int] = {}
        table, number_of = "", {"": 0}
        for number, line in enumerate(text.splitlines(), 1):
            header, key = _HEADER.match(line), _KEY.match(line)
            if header is not None:
                table = header[2].strip("\"'")
                number_of[table] = number_of.get(table, -1) + 1
                self._lines[table, number_of[table], ""] = number
                if "." in table:  # [report.set] is a key of the report above it
                    above, _, name = table.rpartition(".")
                    self._lines[above, number_of.get(above, 0), name] = number
                    number_of[table] = number_of.get(above, 0)
                else:
                    self._lines.setdefault(("", 0, table), number)
            elif key is not None:
                self._lines.setdefault((table, number_of[table], key[1]), number)

    def of(self, table: str, number: int, key: str) -> int | None:
        """The line of a key, or of the header of its table; counted from 1."""
        return self._lines.get((table, number, key)) or self._lines.get((table, number, ""))


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one table of the file, ``[name]`` or the ``number``-th ``[[name]]``, counted from 0."""

    path: Path
    lines: Lines
    name: str
    number: int
    values: Mapping[str, Any]

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raises UsageError about a key of this table."""
        line = self.lines.of(self.name, self.number, key)
        where = f"{self.path}, line {line}" if line is not None else str(self.path)
        raise UsageError(f"{where}: {problem}")

    def only(self, known: Iterable[str]) -> None:
        """Raises UsageError for a key that is none of these."""
        known = list(known)
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                self.fail(key, f"{self._in} has no key '{key}': {hint}")

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value: str | None = self._typed(key, str)
        if value is not None and not value.strip():
            self.fail(key, f"{key} is empty")
        return value

    def required(self, key: str) -> str:
        """A text that must be there."""
        value = self.text(key)
        if value is None:
            self.fail(key, f"{self._in} needs the key '{key}'")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of them; none where the key is not there."""
        value = self.values.get(key)
        found = [value] if isinstance(value, str) else self._typed(key, list) or []
        if any(not isinstance(item, str) or not item.strip() for item in found):
            self.fail(key, f"{key} should be a text or a list of texts, none of them empty")
        return tuple(found)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self._typed(key, bool)
        return default if value is None else bool(value)

    def count(self, key: str) -> int | None:
        """A whole number above 0."""
        value: int | None = self._typed(key, int)
        if value is not None and value < 1:
            self.fail(key, f"{key} should be 1 or more, not {value}")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """A table within this one; an empty one where there is none."""
        return dict(self._typed(key, dict) or {})

    @property
    def _in(self) -> str:
        return f"[{self.name}]" if self.name else "the file"

    def _typed(self, key: str, wanted: type) -> Any:
        value = self.values.get(key)
        if value is not None and type(value) is not wanted:
            found = _TYPES.get(type(value), f"a {type(value).__name__}")
            self.fail(key, f"{key} should be {_TYPES[wanted]}, not {found}")
        return value


def read_keys(path: Path) -> Keys:
    """The keys of the file itself. Raises UsageError for a file that is not there or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return Keys(path, Lines(text), "", 0, tomllib.loads(text))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is not TOML: {error}") from None


def tables_of(keys: Keys, name: str, *, many: bool) -> list[Keys]:
    """The tables ``[[name]]``, or the one ``[name]``. Raises UsageError where it is written the other way."""
    value = keys.values.get(name)
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) is not many or any(not isinstance(item, dict) for item in items):
        keys.fail(name, f"write it as {f'[[{name}]]' if many else f'[{name}]'}, with its keys in the lines below")
    return [Keys(keys.path, keys.lines, name, number, item) for number, item in enumerate(items)]
