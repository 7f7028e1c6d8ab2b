"""Held-out documents of real bundled text: how they are chosen, and that no stream shows them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.heldout import HELD_OUT, HeldOutShownError, check_held_out, hold_out
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream, prepare_trial_streams
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.spec import MixtureSpec
from ccx_ray.study.text_spec import CleaningSpec, HeldOutSpec
from tests.peak_memory import peak_megabytes, write_made_text
from tests.small_corpus import (
    SmallCorpus,
    base_language,
    bundled_language,
    segments_of,
    small_corpus,
    target_language,
    text_folder,
)

SPEC = HeldOutSpec(share=0.1, characters=4000)


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory, project: Path) -> SmallCorpus:
    return small_corpus(project, tmp_path_factory.mktemp("ko"), "ko", documents=400, pairs=500)


@pytest.fixture(scope="module")
def mongolian(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """The text folder of all bundled Mongolian."""
    folder = tmp_path_factory.mktemp("mn")
    spec = bundled_language(project, folder / "raw", "mn", documents=10**6, pairs=10**6)
    text_folder(spec, folder / "raw", folder / "text", cleaning=CleaningSpec())
    return folder / "text"


def chosen(
    text: Path, folder: Path, spec: HeldOutSpec = SPEC, pairs_of: tuple[Path, ...] | None = None
) -> dict[str, str]:
    """id -> text of the held-out documents."""
    folder.mkdir(parents=True, exist_ok=True)
    hold_out(text, (text,) if pairs_of is None else pairs_of, spec, folder)
    return {row["id"]: row["text"] for row in pq.read_table(folder / HELD_OUT).to_pylist()}


def documents_of(text: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(text / "documents").to_pylist()
    return rows


def english_of(documents: list[dict[str, str]], folder: Path, *, files: int = 1) -> Path:
    """A text folder over documents that are spread over files."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for number in range(files):
        lines = [json.dumps(document) + "\n" for document in documents[number::files]]
        (raw / f"{number}.jsonl").write_text("".join(lines), encoding="utf-8")
    text_folder(base_language("*.jsonl"), raw, folder / "text")
    return folder / "text"


@pytest.fixture(scope="module")
def english_documents(project: Path) -> list[dict[str, str]]:
    with gzip.open(project / "data/mono/en.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_memory_does_not_grow_with_the_text(tmp_path: Path):
    program = """
import sys
from ccx_ray.corpus.packing.heldout import hold_out
from ccx_ray.study.text_spec import HeldOutSpec
text = Path(sys.argv[1])
hold_out(text, [text], HeldOutSpec(share=0.5, characters=1_000_000), text)
print(peak_bytes())
"""
    peaks = []
    for megabytes in (60, 160):
        folder = tmp_path / str(megabytes)
        write_made_text(folder, megabytes)
        peaks.append(peak_megabytes(program, folder))
    assert peaks[1] - peaks[0] < 40, "MB more for 100 MB more of text"


def test_the_share_and_the_cap_are_never_exceeded_and_nearly_reached(
    korean: SmallCorpus, tmp_path: Path
) -> None:
    documents = documents_of(korean.text)
    total = sum(len(document["text"]) for document in documents)
    for spec, limit in ((SPEC, min(int(0.1 * total), 4000)), (HeldOutSpec(), int(0.02 * total))):
        folder = tmp_path / str(spec.share)
        folder.mkdir()
        counts = hold_out(korean.text, (korean.text,), spec, folder)
        rows = pq.read_table(folder / HELD_OUT).to_pylist()
        held = sum(len(row["text"]) for row in rows)
        assert counts["limit"] == limit
        assert 0.9 * limit < held == counts["characters"] <= limit
        assert counts["bytes"] == sum(len(row["text"].encode()) for row in rows)
        assert counts["documents"] == len(rows)
        assert (counts["of_documents"], counts["of_characters"]) == (len(documents), total)
        for row in rows:
            assert documents[row.pop("document")] == row


def test_the_choice_does_not_depend_on_how_the_files_are_split(
    english_documents: list[dict[str, str]], tmp_path: Path
) -> None:
    """Nor much on what is added: most of what was held out stays held out."""
    first, more = english_documents[:300], english_documents[:330]
    spec = HeldOutSpec(share=0.05, characters=20_000)
    whole = chosen(english_of(first, tmp_path / "1"), tmp_path / "one", spec, ())
    split = chosen(english_of(first, tmp_path / "7", files=7), tmp_path / "seven", spec, ())
    assert split == whole
    added = chosen(english_of(more, tmp_path / "more"), tmp_path / "added", spec, ())
    assert len(whole.keys() & added.keys()) >= 0.7 * len(whole)
    seeded = spec.model_copy(update={"seed": 1})
    other = chosen(english_of(first, tmp_path / "other"), tmp_path / "seed", seeded, ())
    assert len(whole.keys() & other.keys()) < 0.5 * len(whole)


def test_documents_that_are_also_halves_of_pairs_are_not_eligible(
    mongolian: Path, tmp_path: Path
) -> None:
    """39 of the 163 Mongolian documents are; half of the characters asks for most of the others."""
    spec = HeldOutSpec(share=0.5)
    (tmp_path / "counts").mkdir()
    counts = hold_out(mongolian, (mongolian,), spec, tmp_path / "counts")
    pairs = pq.read_table(mongolian / "pairs")
    halves = {*pairs["english"].to_pylist(), *pairs["target"].to_pylist()}
    assert (counts["of_documents"], counts["also_in_pairs"]) == (163, 39)
    assert halves.isdisjoint(chosen(mongolian, tmp_path / "held", spec).values())
    ignoring = chosen(mongolian, tmp_path / "ignoring", spec, pairs_of=())
    assert not halves.isdisjoint(ignoring.values())


def test_english_documents_are_compared_with_the_pairs_of_every_language(
    mongolian: Path, korean: SmallCorpus, english_documents: list[dict[str, str]], tmp_path: Path
) -> None:
    halves = [
        {"id": f"{code}-{n}", "text": text, "source": "pairs"}
        for code, folder in (("mn", mongolian), ("ko", korean.text))
        for n, text in enumerate(pq.read_table(folder / "pairs")["english"].to_pylist()[:100])
    ]
    text = english_of([*halves, *english_documents[:30]], tmp_path / "en")
    spec = HeldOutSpec(share=0.3)
    assert any(
        "-" in name
        for name in chosen(text, tmp_path / "none", spec, ())
        if name[:2] in ("mn", "ko")
    )
    held = chosen(text, tmp_path / "both", spec, (mongolian, korean.text))
    assert held
    assert {half["text"] for half in halves}.isdisjoint(held.values())


def test_a_limit_that_no_document_meets_is_the_users_mistake(
    korean: SmallCorpus, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^held_out\.share: 0\.5 of ko is 1 characters, but all"):
        chosen(korean.text, tmp_path, HeldOutSpec(share=0.5, characters=1))


def prepare(
    korean: SmallCorpus, folder: Path, english: Path | None = None, *, hold: bool = True
) -> dict[str, Stream]:
    """The base stream over the Korean documents, and the two of a trial that replays English."""
    held: dict[str, Path | None] = {"ko": None, "en": None}
    for code, text in (("ko", korean.text), ("en", english)):
        if hold and text is not None:
            chosen(text, folder / f"heldout-{code}", pairs_of=(korean.text,))
            held[code] = folder / f"heldout-{code}" / HELD_OUT
    tokens = folder / "tokens-en"
    if english is not None:
        tokens.mkdir(parents=True)
        tokenize_text(english, korean.tokenizer, tokens, run_tasks=run_here)
    base, trial = folder / "base", folder / "trial"
    for stream in (base, trial):
        stream.mkdir(parents=True)
    prepare_base_stream(
        korean.tokens,
        korean.tokenizer,
        base,
        sequence_length=64,
        seed=0,
        held_out=held["ko"],
        run_tasks=run_here,
    )
    prepare_trial_streams(
        korean.tokens,
        tokens if english is not None else None,
        korean.tokenizer,
        trial,
        sequence_length=64,
        seed=0,
        rows=5000,
        mixture=MixtureSpec(parallel=0.1, replay=0.3 if english is not None else 0.0),
        pair_order="random",
        held_out=held["ko"],
        replay_held_out=held["en"],
        run_tasks=run_here,
    )
    folders = {"base": base, "bridge": trial / "bridge", "nobridge": trial / "nobridge"}
    return {name: Stream.open(path) for name, path in folders.items()}


@pytest.fixture(scope="module")
def english(
    english_documents: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    short = [document for document in english_documents if len(document["text"]) < 1500]
    return english_of(short[:60], tmp_path_factory.mktemp("english"))


@pytest.fixture(scope="module")
def prepared(
    korean: SmallCorpus, english: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Stream]]:
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(korean, folder, english)


def spelt(stream: Stream, tokenizer: Path) -> str:
    """Everything that a stream's rows spell, end-of-text as a line break."""
    import tokenizers

    opened = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    ids = stream.read(np.arange(stream.rows)).ravel()
    return opened.decode(ids[ids != stream.pad_id].tolist(), skip_special_tokens=False)


def held_texts(folder: Path, code: str) -> dict[str, str]:
    rows = pq.read_table(folder / f"heldout-{code}" / HELD_OUT).to_pylist()
    return {row["id"]: row["text"] for row in rows}


def test_no_stream_shows_a_held_out_document_and_all_show_the_others(
    korean: SmallCorpus, english: Path, prepared: tuple[Path, dict[str, Stream]]
) -> None:
    """By the segments, and by what the rows spell."""
    folder, streams = prepared
    held = {code: held_texts(folder, code) for code in ("ko", "en")}
    assert min(map(len, held.values())) >= 5
    everything = {"ko": documents_of(korean.text), "en": documents_of(english)}
    for name, stream in streams.items():
        documents = stream.documents().to_pylist()
        segments = segments_of(stream, 0, stream.rows)
        shown = {
            (documents[number]["language"], documents[number]["id"])
            for number in segments["document"].to_pylist()
            if documents[number]["part"] in ("monolingual", "replay")
        }
        codes = ("ko",) if name == "base" else ("ko", "en")
        assert shown == {
            (code, document["id"])
            for code in codes
            for document in everything[code]
            if document["id"] not in held[code]
        }
        text = spelt(stream, korean.tokenizer)
        for code in codes:
            # Short beginnings, because a row may end within a document and the next one not follow.
            beginnings = [t[:12] for t in held[code].values() if len(t) >= 40]
            others = [d["text"] for d in everything[code] if d["id"] not in held[code]]
            unique = [b for b in beginnings if not any(b in other for other in others)]
            assert len(unique) >= 4
            assert [b for b in unique if b in text] == []


@pytest.fixture(scope="module")
def without(korean: SmallCorpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stream]:
    """The same Korean streams with nothing held out."""
    return prepare(korean, tmp_path_factory.mktemp("without"), hold=False)


def test_the_others_keep_their_numbers(
    korean: SmallCorpus, prepared: tuple[Path, dict[str, Stream]], without: dict[str, Stream]
) -> None:
    """So exposure and frequency mean the same document: the bytes behind a number are its own."""
    _, streams = prepared
    for name in ("base", "bridge"):
        own = [d for d in streams[name].documents().to_pylist() if d["part"] != "replay"]
        assert own == without[name].documents().to_pylist()
    stream, texts = streams["base"], documents_of(korean.text)
    shown: dict[int, int] = {}
    for segment in segments_of(stream, 0, stream.rows).to_pylist():
        shown[segment["document"]] = shown.get(segment["document"], 0) + segment["length"]
    assert all(len(texts[number]["text"].encode()) == size for number, size in shown.items())


def test_nothing_held_out_shows_everything(
    korean: SmallCorpus, prepared: tuple[Path, dict[str, Stream]], without: dict[str, Stream]
) -> None:
    counts = without["base"].counts
    assert counts["held_out_documents"] == 0
    assert counts["documents"] == len(documents_of(korean.text))
    text = spelt(without["base"], korean.tokenizer)
    held = held_texts(prepared[0], "ko").values()
    assert sum(beginning in text for beginning in (t[:12] for t in held)) > 0.8 * len(held)


def test_the_check_finds_what_it_is_for(
    prepared: tuple[Path, dict[str, Stream]], without: dict[str, Stream]
) -> None:
    folder, streams = prepared
    file = folder / "heldout-ko" / HELD_OUT
    for name in ("base", "bridge", "nobridge"):
        check_held_out(streams[name].folder, {"ko": file})
        with pytest.raises(HeldOutShownError, match="shows held-out document"):
            check_held_out(without[name].folder, {"ko": file})
        with pytest.raises(HeldOutShownError, match="lists 0 of"):
            check_held_out(streams[name].folder, {"zh": file})


def test_a_target_language_that_shares_the_script_is_compared_with_both_halves(
    tmp_path: Path,
) -> None:
    """Isolation by language leaves Latin in the target; either half would show the document."""
    raw = tmp_path / "raw"
    raw.mkdir()
    texts = [f"Tämä on {n}. lause suomeksi." for n in range(40)]
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (raw / "fi.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pairs = [
        {"id": "a", "en": texts[0], "fi": "Aivan muuta."},
        {"id": "b", "en": "Something else.", "fi": texts[1]},
    ]
    (raw / "en-fi.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    isolation = {"keep": ("Latin", "Common", "Inherited")}
    language = target_language("fi", ("fi.jsonl",), ("en-fi.jsonl",), isolation=isolation)
    text_folder(language, raw, tmp_path / "text")
    counts = hold_out(tmp_path / "text", (tmp_path / "text",), SPEC, tmp_path)
    assert counts["also_in_pairs"] == 2
