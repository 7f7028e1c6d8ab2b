"""Runs of apostrophes, which make words italic and bold, by MediaWiki's rules for one line."""

import re

_RUNS = re.compile("('{2,})")


def unquoted(line: str) -> str:
    """A line without the apostrophes that are markup.

    Two are italic, three bold, five both. Of four the first is text, of more than five all but
    five. Where both stay open at the end of the line, one bold run was an apostrophe and an italic
    one: behind a word of one letter, else of several, else behind a space.
    """
    if "'''" not in line:
        return line.replace("''", "")
    parts = _RUNS.split(line)
    italic = bold = 0
    for number in range(1, len(parts), 2):
        length = len(parts[number])
        if length == 4 or length > 5:
            kept = 1 if length == 4 else length - 5
            parts[number - 1] += "'" * kept
            length -= kept
            parts[number] = "'" * length
        italic += length != 3
        bold += length != 2
    if italic % 2 and bold % 2:
        place = _apostrophe(parts)
        if place:
            parts[place - 1] += "'"
    return "".join(parts[::2])


def _apostrophe(parts: list[str]) -> int:
    """Number of the bold run that begins with an apostrophe; 0 where there is none."""
    after_word = after_space = 0
    for number in range(1, len(parts), 2):
        if len(parts[number]) != 3:
            continue
        before = parts[number - 1]
        if before[-1:] == " ":
            after_space = after_space or number
        elif before[-2:-1] == " ":
            return number
        else:
            after_word = after_word or number
    return after_word or after_space
