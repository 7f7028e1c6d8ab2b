"""The tokenizer loses no byte, in any of the five languages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.tokenizing.tokenizer import (
    Encoder,
    Vocabulary,
    adopt_tokenizer,
    train_tokenizer,
)
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import TokenizerSpec
from tests.peak_memory import peak_megabytes, write_made_text
from tests.small_corpus import bundled_language, text_folder

LANGUAGES = ("en", "ko", "zh", "bo", "mn")
SPEC = TokenizerSpec(vocabulary_size=1200, megabytes_per_language=0.1)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, Path]:
    """Text folders of the first documents and pairs of every language."""
    folders = {code: tmp_path_factory.mktemp(code) for code in LANGUAGES}
    for code, folder in folders.items():
        raw = folder / "raw"
        text_folder(bundled_language(project, raw, code, documents=120, pairs=300), raw, folder)
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
    encoded = Encoder(tokenizer).encode(pa.array(documents)).ids.to_pylist()
    for text, ids in zip(documents, encoded, strict=True):
        assert b"".join(bytes_of[i] for i in ids) == text.encode()


def test_marks_of_mongolian_and_tibetan_survive(tokenizer: Path) -> None:
    text = "ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ ᠪᠣᠯᠣᠨ\u180eᠠ ᠠᠦ\u180b\u180c\u180d བོད་\u0f0bཡིག"
    bytes_of = spelled(tokenizer)
    (ids,) = Encoder(tokenizer).encode(pa.array([text])).ids.to_pylist()
    assert b"".join(bytes_of[i] for i in ids) == text.encode()


def test_text_that_spells_a_special_token_is_text(tokenizer: Path) -> None:
    vocabulary = Vocabulary(tokenizer)
    (ids,) = Encoder(tokenizer).encode(pa.array(["<|endoftext|> <|pad|>"])).ids.to_pylist()
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
    ours = Encoder(tokenizer).encode(pa.array(documents)).ids.to_pylist()
    assert opened(documents, add_special_tokens=False)["input_ids"] == ours
    assert opened.batch_decode(ours) == documents


def test_the_same_text_gives_the_same_tokenizer(
    tmp_path: Path, texts: dict[str, Path], tokenizer: Path
) -> None:
    reordered = dict(reversed(texts.items()))
    train_tokenizer(SPEC, reordered, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocabulary.json"):
        assert (tmp_path / name).read_bytes() == (tokenizer / name).read_bytes()


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    program = """
import sys
from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.study.text_spec import TokenizerSpec
spec = TokenizerSpec(vocabulary_size=300, megabytes_per_language=0.5)
text, out = map(Path, sys.argv[1:])
out.mkdir()
counts = train_tokenizer(spec, {"en": text}, out)
assert counts["bytes_learnt_from"] == {"en": 500_000}, counts
print(peak_bytes())
"""
    peaks = []
    for megabytes in (60, 160):
        folder = tmp_path / str(megabytes)
        write_made_text(folder, megabytes)
        peaks.append(peak_megabytes(program, folder, folder / "tokenizer"))
    assert peaks[1] - peaks[0] < 40, "MB more for 100 MB more of text"


def test_a_vocabulary_that_the_text_cannot_fill_is_refused(
    tmp_path: Path, texts: dict[str, Path]
) -> None:
    spec = TokenizerSpec(vocabulary_size=50_000, megabytes_per_language=0.01)
    with pytest.raises(UserError, match=r"^tokenizer\.vocabulary_size: 50000 cannot be learnt"):
        train_tokenizer(spec, {"mn": texts["mn"]}, tmp_path)


def test_the_fast_tokenizer_gives_the_ids_of_the_reference(
    texts: dict[str, Path], tokenizer: Path
) -> None:
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    reference.encode_special_tokens = True
    encoder = Encoder(tokenizer)
    for folder in texts.values():
        documents = pq.read_table(folder / "documents")["text"].to_pylist()
        documents += ["", " ", "\n", "a<|endoftext|>b <|pad|>"]
        expected = [reference.encode(text, add_special_tokens=False).ids for text in documents]
        assert encoder.encode(pa.array(documents)).ids.to_pylist() == expected
        encoder.check(pa.array(documents))
        assert encoder.fallback == ""


def test_a_fast_tokenizer_that_differs_is_not_used(tokenizer: Path) -> None:
    import gigatoken

    encoder = Encoder(tokenizer)
    content = json.loads((tokenizer / "tokenizer.json").read_text("utf-8"))
    content["model"]["merges"] = content["model"]["merges"][:50]
    encoder._fast = gigatoken.Tokenizer.from_json(json.dumps(content))
    texts = ["The president of the country speaks.", "한국의 대통령"]
    wrong = encoder.encode(pa.array(texts)).ids
    encoder.check(pa.array(texts))
    assert "other ids" in encoder.fallback
    assert not encoder.encode(pa.array(texts)).ids.equals(wrong)
    assert encoder.encode(pa.array(texts)).ids.equals(
        Encoder(tokenizer).encode(pa.array(texts)).ids
    )


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Path]) -> Path:
    """A tokenizer of another family: SentencePiece-like BPE with byte fallback, no padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("pretrained")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback()])
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    english = pq.read_table(texts["en"] / "documents")["text"].to_pylist()
    tokenizer.train_from_iterator([text.replace("\n", " ") for text in english], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def test_a_pretrained_tokenizer_is_adopted(
    pretrained: Path, texts: dict[str, Path], tmp_path: Path
) -> None:
    spec = TokenizerSpec(vocabulary_size=901, pretrained=str(pretrained))
    assert adopt_tokenizer(spec, tmp_path, tmp_path)["vocabulary_size"] == 901
    vocabulary, encoder = Vocabulary(tmp_path), Encoder(tmp_path)
    assert len({vocabulary.eos_id, vocabulary.pad_id, vocabulary.separator_id}) == 3
    assert vocabulary.byte_lengths is None
    documents = pq.read_table(texts["ko"] / "documents")["text"].to_pylist()
    encoded = encoder.encode(pa.array(documents))
    assert encoded.byte_lengths is not None
    for text, lengths in zip(documents, encoded.byte_lengths.to_pylist(), strict=True):
        assert sum(lengths) == len(text.encode())


def test_our_own_tokenizer_can_be_adopted(tokenizer: Path, tmp_path: Path) -> None:
    spec = TokenizerSpec(vocabulary_size=1200, pretrained=str(tokenizer))
    adopt_tokenizer(spec, tmp_path, tmp_path)
    assert (tmp_path / "vocabulary.json").read_bytes() == (
        tokenizer / "vocabulary.json"
    ).read_bytes()
    text = "조선의 왕 and the king"
    assert (
        Encoder(tmp_path)
        .encode(pa.array([text]))
        .ids.equals(Encoder(tokenizer).encode(pa.array([text])).ids)
    )


def test_a_wrong_size_names_the_right_one(pretrained: Path, tmp_path: Path) -> None:
    spec = TokenizerSpec(vocabulary_size=900, pretrained=str(pretrained))
    with pytest.raises(UserError, match=r"^tokenizer\.vocabulary_size: 900, .* give 901$"):
        adopt_tokenizer(spec, tmp_path, tmp_path)


def test_a_tokenizer_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """In a process of its own: the hub's library reads at its import whether it may be asked."""
    program = (
        "import sys; from pathlib import Path;"
        "from ccx_ray.corpus.tokenizing.tokenizer import adopt_tokenizer;"
        "from ccx_ray.study.text_spec import TokenizerSpec;"
        "spec = TokenizerSpec(vocabulary_size=900, pretrained='nobody/nothing');"
        "adopt_tokenizer(spec, Path(sys.argv[1]), Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "UserError: tokenizer.pretrained: 'nobody/nothing' cannot be opened" in last
