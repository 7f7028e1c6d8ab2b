"""Whatever tokenizer Transformers opens is opened, and what it would make up is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor
from transformers import ByT5Tokenizer

from ccx_ray.errors import UserError
from ccx_ray.evaluation.model_tokenizer import open_tokenizer, tokens_of_span
from ccx_ray.evaluation.models import CausalModel, check_model_folder, load_causal_model
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.scoring import encode_probe
from tests.tokenizer_kinds import (
    KINDS,
    SENTENCEPIECE_KINDS,
    probe_texts,
    write_model,
    write_sentencepiece_model,
)


def without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return folder


def write_vocabulary(folder: Path) -> Path:
    """As published Chinese GPT-2 models have it: ``vocab.txt``, and the class in the config."""
    tokenizer = KINDS["BERT's vocab.txt, EOS named"]()
    write_model(folder, tokenizer)
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(token for token, _ in ordered), "utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    without(folder, "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


ITEM = ProbeItem(question="It is ___.", options=("red", "blue"), answer="red")


def encoded(model: CausalModel, *items: ProbeItem) -> Any:
    return encode_probe(model, Probe(name="p", items=items or (ITEM,)), alone=False).items[0]


def test_a_vocabulary_alone_is_opened(tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    check_model_folder(folder)
    model = load_causal_model(folder, "cpu")
    assert model.end_of_text is None
    with pytest.raises(UserError, match="nor an eos_token; set eos_token"):
        encoded(model)


def test_a_tokenizer_without_files_is_opened(tmp_path: Path) -> None:
    folder = write_model(tmp_path, ByT5Tokenizer())
    check_model_folder(folder)
    own = encoded(load_causal_model(folder, "cpu"))
    assert [len(one) for one in own.filled] == [11, 12]
    assert own.option_tokens[0].sum() == 3


LLAMA, T5 = "Llama's tokenizer.model, adds BOS", "T5's spiece.model, adds EOS"


def test_the_absent_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_sentencepiece_model(tmp_path, LLAMA)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    check_model_folder(folder)
    with pytest.raises(UserError, match=r"SentencePiece model tokenizer\.model, .* not installed; "
                                        r"pip install -e '\.\[sentencepiece\]'"):  # fmt: skip
        load_causal_model(folder, "cpu")


@pytest.mark.parametrize("kind", SENTENCEPIECE_KINDS)
def test_a_sentencepiece_model_alone_is_opened(kind: str, tmp_path: Path) -> None:
    """Its tokens are those that the package itself cuts."""
    folder = write_sentencepiece_model(tmp_path, kind)
    assert not (folder / "tokenizer.json").exists()
    tokenizer = load_causal_model(folder, "cpu").tokenizer
    (file,) = folder.glob("*.model")
    own = SentencePieceProcessor(model_file=str(file))
    for text in (*probe_texts()[::5], "A b, c 12,000 é ﬁ 🎼"):
        found = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)
        assert found == own.id_to_piece(own.encode(text)), text


@pytest.mark.parametrize(
    ("kind", "named", "said"),
    [
        (LLAMA, None, r"\(BPE\), as TokenizersBackend \(BPE\), .* such as LlamaTokenizer"),
        (T5, None, r"\(Unigram\), as TokenizersBackend \(Unigram\), .* such as T5Tokenizer"),
        (T5, "LlamaTokenizer", r"\(Unigram\), as LlamaTokenizer \(BPE\), .* such as T5Tokenizer"),
        (LLAMA, "T5Tokenizer", r"\(BPE\), as T5Tokenizer \(Unigram\), .* such as LlamaTokenizer"),
    ],
)
def test_a_sentencepiece_model_opened_as_another_is_refused(
    kind: str, named: str | None, said: str, tmp_path: Path
) -> None:
    folder = write_sentencepiece_model(tmp_path, kind, named)
    if named != "T5Tokenizer":  # else Transformers does not find it
        next(folder.glob("*.model")).rename(folder / "tokenizer.model")
    else:
        (folder / "tokenizer.model").rename(folder / "spiece.model")
    with pytest.raises(UserError, match=rf"a SentencePiece model {said}, or give a folder with a"):
        load_causal_model(folder, "cpu")


def test_a_named_class_that_cuts_otherwise_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for named, lines in (("", 0), ("GemmaTokenizer", 1)):
        folder = write_sentencepiece_model(tmp_path / f"as {named}", LLAMA, named)
        open_tokenizer(folder, folder)
        assert len(caplog.messages) == lines
    (line,) = caplog.messages
    assert "opens tokenizer.model as GemmaTokenizer, which cuts 6 of 6 samples into other" in line


def test_a_file_that_only_has_the_ending_of_a_sentencepiece_model_is_left_alone(
    tmp_path: Path,
) -> None:
    folder = write_vocabulary(tmp_path)
    (folder / "word2vec.model").write_text("king 0.1 0.2\n")
    load_causal_model(folder, "cpu")


def test_a_vocabulary_of_no_known_kind_is_not_an_empty_one(tmp_path: Path) -> None:
    """Transformers opens such a folder as a tokenizer of one token, and every text as none."""
    folder = write_model(tmp_path / "gpt2", KINDS["GPT-2"]())
    without(folder, "tokenizer.json", "tokenizer_config.json")
    (folder / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(
        UserError, match=r"as GPT2Tokenizer, which finds no vocabulary in vocab\.txt"
    ):
        load_causal_model(folder, "cpu")
    shutil.copytree(folder, tmp_path / "none")
    without(tmp_path / "none", "vocab.txt")
    with pytest.raises(UserError, match="no tokenizer "):
        check_model_folder(tmp_path / "none")


def test_an_id_without_an_embedding_is_one_line(tmp_path: Path) -> None:
    folder = write_model(tmp_path, KINDS["GPT-2"]())
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    vocab = tokenizer["model"]["vocab"]
    token = max(vocab, key=vocab.get)
    size = vocab[token] + 1
    vocab[token] = 5_000  # a gap, so that there are no more tokens than before
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(UserError) as raised:
        load_causal_model(folder, "cpu")
    assert f"gives {token!r} the id 5000, but its model has only the ids 0 to {size - 1}; " in str(
        raised.value
    )


@pytest.mark.parametrize("kind", ["ByT5, adds EOS", "Llama, adds BOS", "GPT-2", "Gemma, adds BOS"])
def test_the_option_s_tokens_hold_its_bytes(kind: str, tmp_path: Path) -> None:
    """Within a character, too: each of its bytes may be a token."""
    model = load_causal_model(write_model(tmp_path, KINDS[kind]()), "cpu")
    tokenizer = model.tokenizer
    for question, option in (
        ("수도는 ___이다.", "서울"), ("The capital is ___.", "Seoul"), ("བོད་ཀྱི་___ཡིན།", "ལྷ་ས"),
        ("___ é ñ", "ü"), ("𝄞___𝄢", "🎼"), ("中___文", "国"), ("___", "ᠮᠣᠩᠭᠣᠯ"),
    ):  # fmt: skip
        item = ProbeItem(question=question, options=(option, "x"), answer=option)
        own = encoded(model, item)
        ids, marks = np.array(own.filled[0][1:]), own.option_tokens[0]
        (begin, end), text = item.spans(option)[0], item.fill(option)
        held = np.flatnonzero(marks)
        assert (np.diff(held) == 1).all()
        if isinstance(tokenizer, ByT5Tokenizer):
            assert len(held) == len(option.encode())
        # The tokens of the option spell it, with no more than a neighbour that shares a token.
        before = tokenizer.decode(ids[: held[0]].tolist())
        behind = tokenizer.decode(ids[held[-1] + 1 :].tolist())
        assert text[:begin].strip().startswith(before.strip(" \ufffd")), (kind, text, before)
        assert text[end:].strip().endswith(behind.strip(" \ufffd")), (kind, text, behind)
        if kind in ("ByT5, adds EOS", "GPT-2"):
            found = tokens_of_span(tokenizer, ids.tolist(), text, begin, end)
            assert (found.start, found.stop - 1) == (held[0], held[-1]), (kind, text)


def test_offsets_where_decoding_changes_the_text(tmp_path: Path) -> None:
    """BERT's tokens are in lower case, with spaces around punctuation."""
    model = load_causal_model(write_model(tmp_path, KINDS["BERT's vocab.txt, EOS named"]()), "cpu")
    for text, option in (
        ("It's RED, (said) the Zebra!", "RED"), ("It's RED, (said) the Zebra!", "Zebra"),
        ("中国的首都是北京。", "北京"), ("It  is\tÉcole.", "École"),
    ):  # fmt: skip
        begin = text.index(option)
        item = ProbeItem(
            question="", options=(option, "x"), answer=option,
            pieces=(text[:begin], text[begin + len(option) :]),
        )  # fmt: skip
        own = encoded(model, item)
        held = np.flatnonzero(own.option_tokens[0])
        ids = list(own.filled[0][1:])
        found = tokens_of_span(model.tokenizer, ids, text, begin, begin + len(option))
        assert (found.start, found.stop - 1) == (held[0], held[-1]), text
