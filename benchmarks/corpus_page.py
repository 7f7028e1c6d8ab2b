"""The dated page of one run: machine, versions, command, tables, and a real study's time."""

import argparse
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from corpus_ours import LANGUAGES_AT_ONCE, SEQUENCE_LENGTH, OursResult
from corpus_tables import Figures
from corpus_text import LANGUAGES, BenchmarkText, sentences

PARTS = ("ours", "datatrove", "bare", "profile", "scaling", "reading")
"""What can be measured; a page that lacks some of it says so by its command."""
PACKAGES = (
    "ray",
    "pyarrow",
    "numpy",
    "gigatoken",
    "tokenizers",
    "rensa",
    "orjson",
    "datatrove",
    "regex",
    "xxhash",
)
STUDY_TOKENS = 5_000_000_000
STUDY_CORES = 64

WHAT_OURS_DOES_BEYOND = """\
What ours does beyond the bare parts: it reads and parses JSON Lines; brings text into NFC and
tidies white space; counts every removed character by script; looks for text without letters;
hashes every text and id (BLAKE2b, 16 bytes) and, where near-duplicates are looked for, computes
128 MinHash values of every document; compares all of them over all files; keeps rejected text
with its reason, file and line; checks the fast tokenizer against the reference on a sample of
every part; shuffles documents and rows; notes for every token which bytes of which document it
spells; hashes the rows; and writes four times: isolated blocks (Arrow, uncompressed), text
(Parquet, LZ4), tokens (Arrow, uncompressed), rows (Parquet). The bare parts start with the text
in memory and end with rows in memory.
"""
WHAT_DATATROVE_DOES = """\
datatrove gets a slice of the same text (its time is that of the slice less that of a small one, so
that starting costs nothing), the same tokenizer, the same script classes in the `regex` module,
exact deduplication by a 64-bit hash, and MinHash of 16 bands of 8 over shingles of 3 units, which
one regular expression cuts for it. It shuffles documents and windows of the same length. It keeps
neither rejected text nor the origin of tokens.
"""


def render_page(
    figures: Sequence[Figures],
    results: Mapping[str, OursResult],
    text: BenchmarkText,
    arguments: argparse.Namespace,
) -> str:
    """The whole page as Markdown."""
    today = datetime.now(UTC).date().isoformat()
    options = ("megabytes", "sizes", "slice_megabytes", "processors", "seed")
    command = "python benchmarks/corpus.py"
    for name in options:
        value = getattr(arguments, name)
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        command += f" --{name.replace('_', '-')} {shown}"
    if len(arguments.only) < len(PARTS):
        command += f" --only {' '.join(arguments.only)}"
    sections = [
        f"# The corpus stage, {today}",
        f"    {command}",
        _machine(arguments.processors),
        _text(text, arguments),
        *(table.markdown() for table in figures),
        WHAT_OURS_DOES_BEYOND,
        WHAT_DATATROVE_DOES,
    ]
    if "ray" in results:
        sections.append(extrapolation(results["ray"], results["single"], arguments.processors))
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def extrapolation(on_ray: OursResult, single: OursResult, cores: int) -> str:
    """What 5 B tokens of English would take on 64 cores."""
    megabytes = STUDY_TOKENS * on_ray.english_bytes_per_token / 1e6
    serial = single.serial_seconds / single.megabytes
    parallel = max(0.0, on_ray.seconds * cores / on_ray.megabytes - serial)
    work, driver = parallel * megabytes / STUDY_CORES, serial * megabytes
    return (
        f"## {STUDY_TOKENS / 1e9:.0f} B tokens on {STUDY_CORES} cores\n\n"
        f"English comes to {on_ray.english_bytes_per_token:.2f} bytes of raw text a token with "
        f"this tokenizer, so {STUDY_TOKENS / 1e9:.0f} B tokens are {megabytes / 1e3:.1f} GB. At "
        f"{parallel * 1e3:.1f} core milliseconds a MB on Ray as measured here, the tasks take "
        f"{work:.0f} s on {STUDY_CORES} cores; what the driver does alone (comparing the keys of "
        f"all documents, planning and describing the stream; {serial * 1e3:.2f} ms a MB) takes "
        f"{driver:.0f} s whatever the cores: {(work + driver) / 60:.1f} minutes. This supposes "
        "that storage keeps up with 64 cores and that a task costs the same with more cores at "
        "work; neither was measured. Text that repeats itself less than this one is tokenized more "
        "slowly; the table of the bare parts says by how much at most."
    )


def _machine(processors: int) -> str:
    model = memory = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = f"{int(line.split()[1]) / 2**20:.0f} GiB"
    known = [f"{name} {_version(name)}" for name in PACKAGES]
    return (
        f"{processors} cores of {model}, {memory}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, {', '.join(known)}."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _text(text: BenchmarkText, arguments: argparse.Namespace) -> str:
    bundled = sum(len(sentence.encode()) for code in LANGUAGES for sentence in sentences(code))
    shares = ", ".join(f"{code} {share:.0%}" for code, share in LANGUAGES.items())
    return (
        f"Text: {arguments.megabytes} MB of UTF-8 (MB are 10^6 bytes of text alone, without the "
        f"JSON around it) in {shares}, seed {arguments.seed}: documents of 10 to 60 sentences "
        f"drawn from the {bundled / 1e6:.1f} MB of distinct sentences of `data/mono`, one "
        "in ten an exact repeat, one in twenty a repeat with one sentence changed. The variety of "
        "words is that of the sentences, so tokenizers find nearly every word in their caches, "
        "ours, the bare one and datatrove's alike.\n\n"
        f"Rows have {SEQUENCE_LENGTH} tokens. On Ray, {LANGUAGES_AT_ONCE} languages are prepared "
        "beside one another, as a study does; the start of the cluster and its workers is not "
        'counted. "Processor s" are the user and system seconds of all processes, sampled: where '
        "the machine is shared they say more than the clock."
    )
