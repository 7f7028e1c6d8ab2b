"""What is known of a wiki when its pages are read, and the marks that stand in a page's text while
it is read.

Marks are control characters, which XML cannot hold.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ccx_ray.corpus.reading.wiki_words import CANONICAL_NAMESPACES, FILE_WORDS

DROPPED = "\x01"
"""Stands where a template or the like was, until brackets and punctuation around it are mended."""
HEADING = "\x02"
"""Stands with the level before a section's title until empty sections are known."""
BARE = "\x16"
"""Behind the title of a section below which the page has nothing."""
OPEN, CLOSE = "\x03", "\x04"
"""Stand for an element's tags: no line begins behind one, no definition between two."""
BREAK = "\x05"
"""Stands for a block's tag or ``<br>``; a line break in the end."""
COMMENT = "\x06"
LINK = "\x13"
"""Before the words of a link, which begin no line and are no address."""
BRACKET = "\x07"
"""An opening bracket that begins no link."""
COLON = "\x14"
"""A colon that divides no term from its definition."""
KEPT = "\x08"
"""Around the number of a text that is no wikitext, of ``<nowiki>`` or ``<pre>``."""
QUOTE = "\x15"
"""An apostrophe of a title, which makes nothing italic."""
BAR, EQUALS = "\x17", "\x18"
"""Of templates that stand for these where they would divide arguments."""
TABLE, CELL, ROW, END_CELL, END_TABLE = "\x0e", "\x0f", "\x10", "\x11", "\x12"


class Site(NamedTuple):
    """What a dump and the study file say of the wiki that pages come from."""

    name: str = ""
    """Its database, such as ``kowiki``; else its title."""
    dropped: frozenset[str] = FILE_WORDS
    """Prefixes, in lower case, of links that are no prose."""
    language: str = ""
    """Its code; where it is not known, ``-{...}-`` is taken for a conversion."""
    namespaces: frozenset[str] = CANONICAL_NAMESPACES
    """All prefixes, in lower case, that must not stand alone in a link."""
    templates: Mapping[str, str] | None = None
    """What word-bearing templates show; the default list where None. See ``wiki_templates``."""
