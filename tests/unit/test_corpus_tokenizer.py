"""The tokenizer loses no byte, in any of the five languages."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.isolation import isolated_tables
from ccx_ray.corpus.text_folder import TextFolder
from ccx_ray.corpus.tokenizer import Encoder, Vocabulary, train_tokenizer
from ccx_ray.errors import UserError
from ccx_ray.study.spec import TokenizerSpec
from tests.small_corpus import document_source, pair_source

LANGUAGES = ("en", "ko", "zh", "bo", "mn")
SPEC = TokenizerSpec(vocabulary_size=1200, megabytes_per_language=0.1)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, Path]:
    """Text folders of the first documents and pairs of every language."""
    folders = {code: tmp_path_factory.mktemp(code) for code in LANGUAGES}
    for code, folder in folders.items():
        with TextFolder(folder, pairs=code != "en") as text:
            text.add(next(isolated_tables(document_source(project, code))).slice(0, 120))
            if code != "en":
                text.add(next(isolated_tables(pair_source(project, code))).slice(0, 300))
    return folders


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    counts = train_tokenizer(SPEC, texts, folder)
    assert counts["vocabulary_size"] == 1200
    assert all(0 < learnt <= 100_000 for learnt in counts["bytes_learnt_from"].values())
    return folder


def spelled(folder: Path) -> list[bytes]:
    """The bytes of every id, read from the vocabulary file by the rule of byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable}
    byte_of |= {chr(256 + i): byte for i, byte in enumerate(others)}
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokens = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    special = {token["content"] for token in content["added_tokens"]}
    return [b"" if token in special else bytes(byte_of[c] for c in token) for token in tokens]


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_survives_byte_for_byte(
    texts: dict[str, Path], tokenizer: Path, language: str
) -> None:
    documents = pq.read_table(texts[language] / "documents")["text"].to_pylist()
    bytes_of = spelled(tokenizer)
    encoded = Encoder(tokenizer).encode(documents).to_pylist()
    for text, ids in zip(documents, encoded, strict=True):
        assert b"".join(bytes_of[i] for i in ids) == text.encode()


def test_marks_of_mongolian_and_tibetan_survive(tokenizer: Path) -> None:
    text = "ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ ᠪᠣᠯᠣᠨ\u180eᠠ ᠠᠦ\u180b\u180c\u180d བོད་\u0f0bཡིག"
    bytes_of = spelled(tokenizer)
    (ids,) = Encoder(tokenizer).encode([text]).to_pylist()
    assert b"".join(bytes_of[i] for i in ids) == text.encode()


def test_text_that_spells_a_special_token_is_text(tokenizer: Path) -> None:
    vocabulary = Vocabulary(tokenizer)
    (ids,) = Encoder(tokenizer).encode(["<|endoftext|> <|pad|>"]).to_pylist()
    assert not {vocabulary.eos_id, vocabulary.pad_id} & set(ids)


def test_the_vocabulary_knows_its_bytes(tokenizer: Path) -> None:
    vocabulary = Vocabulary(tokenizer)
    expected = [len(content) for content in spelled(tokenizer)]
    assert np.array_equal(vocabulary.byte_lengths, expected)
    assert spelled(tokenizer)[vocabulary.separator_id] == b"\n"


def test_transformers_opens_the_folder(texts: dict[str, Path], tokenizer: Path) -> None:
    from transformers import AutoTokenizer

    opened = AutoTokenizer.from_pretrained(tokenizer)
    vocabulary = Vocabulary(tokenizer)
    assert len(opened) == vocabulary.size == 1200
    assert (opened.eos_token_id, opened.pad_token_id) == (vocabulary.eos_id, vocabulary.pad_id)
    documents = pq.read_table(texts["ko"] / "documents")["text"].to_pylist()
    ours = Encoder(tokenizer).encode(documents).to_pylist()
    assert opened(documents, add_special_tokens=False)["input_ids"] == ours
    assert opened.batch_decode(ours) == documents


def test_the_same_text_gives_the_same_tokenizer(
    tmp_path: Path, texts: dict[str, Path], tokenizer: Path
) -> None:
    reordered = dict(reversed(texts.items()))
    train_tokenizer(SPEC, reordered, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (tokenizer / name).read_bytes()


def test_a_vocabulary_that_the_text_cannot_fill_is_refused(
    tmp_path: Path, texts: dict[str, Path]
) -> None:
    spec = TokenizerSpec(vocabulary_size=50_000, megabytes_per_language=0.01)
    with pytest.raises(UserError, match=r"^tokenizer\.vocabulary_size: 50000 cannot be learnt"):
        train_tokenizer(spec, {"mn": texts["mn"]}, tmp_path)
