"""Made text of any size, and the peak memory of a program that reads it."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from ccx_ray.corpus.parts import write_language, write_part

DOCUMENT_CHARACTERS = 4000
DOCUMENTS_OF_A_PART = 8192
PEAK = """
import re
from pathlib import Path
def peak_bytes():
    # Not getrusage: its peak begins with that of the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def write_made_text(folder: Path, megabytes: float) -> None:
    """A text folder of English documents of 4,000 characters, in parts of 33 MB."""
    words = " ".join(f"{number * 7919 % 99991:x}" for number in range(20_000))
    documents = int(megabytes * 1e6 / DOCUMENT_CHARACTERS)
    for kind in ("documents", "pairs"):
        (folder / kind).mkdir(parents=True)
    for first in range(0, documents, DOCUMENTS_OF_A_PART):
        numbers = range(first, min(first + DOCUMENTS_OF_A_PART, documents))
        begins = (number * 31 % (len(words) - DOCUMENT_CHARACTERS) for number in numbers)
        columns = {
            "id": [str(number) for number in numbers],
            "text": [
                f"{number} {words[begin : begin + DOCUMENT_CHARACTERS]}"[:DOCUMENT_CHARACTERS]
                for number, begin in zip(numbers, begins, strict=True)
            ],
            "source": ["made"] * len(numbers),
        }
        write_part(folder / "documents", first // DOCUMENTS_OF_A_PART, pa.table(columns))
    write_language(folder, "en", "en")


def peak_megabytes(program: str, *arguments: object) -> float:
    """What a program prints that ends by printing ``peak_bytes()``, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1]) / 1e6
