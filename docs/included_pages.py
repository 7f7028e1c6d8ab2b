"""Files of the project outside docs/ that are pages of the site too."""

import os
import re
from pathlib import Path

LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)]+)(?=\))")


def included(file: Path, page_folder: Path) -> str:
    """The text of a Markdown file, its relative links as a page in another folder has them."""

    def moved(link: re.Match[str]) -> str:
        path, _, anchor = link[2].partition("#")
        place = os.path.relpath(file.parent / path, page_folder)
        return f"{link[1]}{place}{'#' if anchor else ''}{anchor}"

    return LINK.sub(moved, file.read_text("utf-8"))
