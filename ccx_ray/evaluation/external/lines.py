"""The lines of a text file, with their numbers.

Invariant: blank lines are no items; every other line is one.
"""

from pathlib import Path

from ccx_ray.errors import UserError


def read_lines(path: Path) -> list[tuple[int, str]]:
    """``(number, line)`` of every line with something in it, from 1.

    Raises:
        UserError: the file cannot be read, or is not UTF-8, or has nothing in it.
    """
    try:
        # Not splitlines(), which also breaks at characters that stand inside of texts.
        lines = path.read_text("utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a probe file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8") from None
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise UserError(f"{path}: nothing in it where questions are expected")
    return found
