"""Tables of wikitext, which are dropped: by MediaWiki's rules for what belongs to one.

A line of a table begins with its sign, behind white space; ``{|`` behind colons too. What stands in
a table and in no cell of it, a reader sees above the table, and it stays. A table that is never
closed would hold the rest of the page; here it ends with the first paragraph or section behind it.
Lines of a table that a template opens go with it.
"""

import re

from ccx_ray.corpus.reading.wiki_site import (
    CELL,
    CLOSE,
    DROPPED,
    END_CELL,
    END_TABLE,
    ROW,
    TABLE,
)

_SIGN = re.compile(r"\n[ \t]*(?:(\|[}-]|[|!])|[ \t:]*(\{\|))")
_ALL = TABLE + CELL + ROW + END_CELL + END_TABLE
_MARKS = re.compile(f"[{_ALL}]")
_PROSE = re.compile(rf"\n[ \t{DROPPED}]*\n+(?=[^\n|!{{{DROPPED}\s])|\n(?==+[^=\n]+=)")
"""Where prose begins behind a table that is never closed."""


def without_tables(text: str) -> str:
    """A page, which begins with a line break, without its tables; HTML ones stand as marks."""
    if "{|" in text or "\n|" in text:
        text = _marked(text)
    return _outside(text) if any(mark in text for mark in _ALL) else text


def _marked(text: str) -> str:
    """Marks in place of the signs of tables."""
    pieces: list[str] = []
    at = depth = 0
    for sign in _SIGN.finditer(text):
        kind, start, end = sign[sign.lastindex or 1], sign.start() + 1, sign.end()
        if kind != "{|" and not depth:
            if _is_of_templates(text[text.rfind("\n", 0, start - 1) + 1 : start - 1]):
                pieces += (text[at:start], TABLE)
                at, depth = start, 1
            elif kind not in {"|}", "|-"} or text[end : _line_end(text, end)].strip():
                continue
        pieces.append(text[at:start])
        if kind == "|}":
            pieces.append(END_TABLE)
            at, depth = end, depth - (depth > 0)
        elif kind in {"{|", "|-"}:  # the rest of the line is attributes
            pieces.append(TABLE if kind == "{|" else ROW)
            at, depth = _line_end(text, end), depth + (kind == "{|")
        else:
            pieces.append(CELL)
            at = end
    return "".join([*pieces, text[at:]])


def _is_of_templates(line: str) -> bool:
    return DROPPED in line and not line.strip(f"{DROPPED} \t")


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def _outside(text: str) -> str:
    """What stands in no cell of a table."""
    edges = [(edge.start(), edge[0]) for edge in _MARKS.finditer(text)]
    never_closed = _never_closed(edges)
    pieces: list[str] = []
    in_cell: list[bool] = []
    """Of every table that is open, whether one of its cells is."""
    endless: list[bool] = []
    hidden, at = 0, 0
    for number, (place, mark) in enumerate([*edges, (len(text), "")]):
        if hidden and endless[-1]:  # as all tables are that it stands in
            prose = _PROSE.search(text, at, place)
            if prose:  # until the next cell
                hidden, in_cell, at = 0, [False] * len(in_cell), prose.start()
        if not hidden:
            pieces.append(text[at:place])
        at = place + 1
        if mark == TABLE:
            in_cell.append(False)
            endless.append(number in never_closed)
        elif in_cell:
            hidden -= in_cell[-1]
            if mark == END_TABLE:
                in_cell.pop()
                endless.pop()
                pieces.append(CLOSE)
            else:
                in_cell[-1] = mark == CELL
                hidden += in_cell[-1]
    return "".join(pieces)


def _never_closed(edges: list[tuple[int, str]]) -> set[int]:
    """Numbers of the marks of tables that nothing closes."""
    opened: list[int] = []
    for number, (_, mark) in enumerate(edges):
        if mark == TABLE:
            opened.append(number)
        elif mark == END_TABLE and opened:
            opened.pop()
    return set(opened)
