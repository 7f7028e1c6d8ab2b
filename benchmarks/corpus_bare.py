"""The bare parts of the corpus stage: what remains when nothing is kept track of.

For texts that lie in memory as an Arrow array: one RE2 replacement, the fast tokenizer, and the ids
with end-of-text between them cut into rows. No Ray, no files, no NFC, no duplicates, no origin of
any token.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from corpus_ours import SEQUENCE_LENGTH, language_spec
from corpus_text import LANGUAGES, TextFile, bundled_texts

DOCUMENTS_AT_ONCE = 2048
PARTS = ("RE2 filter", "tokenizer", "packing")


@dataclass(frozen=True, kw_only=True)
class BareTask:
    """Which text, and the tokenizer's folder."""

    files: tuple[TextFile, ...]
    tokenizer: str


@dataclass(frozen=True, kw_only=True)
class BareResult:
    """Seconds by part and language."""

    seconds: dict[str, dict[str, float]]
    """Part -> language -> seconds."""
    processor_seconds: dict[str, float]
    """Part -> processor seconds over all languages."""
    bytes_by_language: dict[str, int]
    tokens: int
    fresh_tokenizer: dict[str, float]
    """Language -> MB/s of the fast tokenizer over the bundled text, which it sees for the first
    time."""

    @property
    def text_bytes(self) -> int:
        return sum(self.bytes_by_language.values())

    def of_part(self, part: str) -> float:
        """Seconds over all languages."""
        return sum(self.seconds[part].values())

    @property
    def sum_seconds(self) -> float:
        """Of the parts that make the bare pipeline."""
        return sum(map(self.of_part, PARTS))

    @property
    def sum_processor_seconds(self) -> float:
        """The same by the processor's time."""
        return sum(self.processor_seconds[part] for part in PARTS)


def script_class(code: str) -> str:
    """The RE2 class of what a language's isolation removes."""
    isolation = language_spec(code, ["-"]).isolation
    names = isolation.keep or isolation.remove
    scripts = "".join(rf"\p{{{name}}}" for name in names)
    return f"[^{scripts}]" if isolation.keep else f"[{scripts}]"


def open_fast_tokenizer(folder: Path) -> tuple[Callable[[list[str]], Any], int]:
    """Texts to an awkward array of ids, and the id of end-of-text."""
    import gigatoken

    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    # As ours: it is a fifth faster when it need not look for special tokens.
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["special"]]
    tokenizer = gigatoken.Tokenizer.from_json(json.dumps(content))
    end: int = json.loads((folder / "vocabulary.json").read_text("utf-8"))["eos_id"]
    return lambda texts: tokenizer.encode_batch(texts, parallel=False), end


def run_bare(task: BareTask) -> BareResult:
    """All parts over all files, file by file, in this process."""
    # One a language: a language's words stay in its cache.
    tokenizers = {code: open_fast_tokenizer(Path(task.tokenizer)) for code in LANGUAGES}
    seconds: dict[str, defaultdict[str, float]] = {
        part: defaultdict(float) for part in (*PARTS, "to Python strings")
    }
    processor: defaultdict[str, float] = defaultdict(float)
    sizes: Counter[str] = Counter()
    tokens = 0

    def timed(part: str, language: str, function: Callable[[], Any]) -> Any:
        begin, processor_begin = time.perf_counter(), time.process_time()
        result = function()
        seconds[part][language] += time.perf_counter() - begin
        processor[part] += time.process_time() - processor_begin
        return result

    for file in task.files:
        language, pattern = file.language, script_class(file.language)
        sizes[language] += file.text_bytes
        encode, end_of_text = tokenizers[language]
        rest = np.zeros(0, np.int32)
        for texts in _arrays(Path(file.path)):
            replace = partial(pc.replace_substring_regex, texts, pattern, "")
            filtered = timed("RE2 filter", language, replace)
            strings = timed("to Python strings", language, filtered.to_pylist)
            ids = timed("tokenizer", language, partial(encode, strings))
            rows, rest = timed("packing", language, partial(pack, ids, rest, end_of_text))
            tokens += rows.size
    return BareResult(
        seconds={part: dict(by_language) for part, by_language in seconds.items()},
        processor_seconds=dict(processor),
        bytes_by_language=dict(sizes),
        tokens=tokens,
        fresh_tokenizer={code: _fresh_speed(Path(task.tokenizer), code) for code in LANGUAGES},
    )


def pack(ids: Any, rest: np.ndarray, end_of_text: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole rows of the ids with end-of-text behind every document, and what is left over."""
    offsets = np.asarray(ids.layout.offsets.data)
    content = np.asarray(ids.layout.content.data).view(np.int32)
    joined = np.concatenate([rest, np.insert(content, offsets[1:], end_of_text)])
    whole = len(joined) // SEQUENCE_LENGTH * SEQUENCE_LENGTH
    return joined[:whole].reshape(-1, SEQUENCE_LENGTH), joined[whole:]


def _arrays(path: Path) -> list[pa.Array]:
    with path.open("rb") as lines:
        texts = [orjson.loads(line)["text"] for line in lines]
    starts = range(0, len(texts), DOCUMENTS_AT_ONCE)
    return [pa.array(texts[at : at + DOCUMENTS_AT_ONCE], pa.string()) for at in starts]


def _fresh_speed(tokenizer: Path, language: str) -> float:
    texts = bundled_texts(language)
    encode, _ = open_fast_tokenizer(tokenizer)
    begin = time.perf_counter()
    encode(texts)
    seconds = time.perf_counter() - begin
    return sum(len(text.encode()) for text in texts) / 1e6 / seconds


def main() -> None:
    """Measure what the first argument describes; the result goes where the second says."""
    content = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    content["files"] = tuple(TextFile(**file) for file in content["files"])
    Path(sys.argv[2]).write_text(json.dumps(asdict(run_bare(BareTask(**content)))), "utf-8")


if __name__ == "__main__":
    main()
