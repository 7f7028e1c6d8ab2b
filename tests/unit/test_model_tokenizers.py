"""Whatever tokenizer Transformers opens is opened, and what it would make up is refused."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import ByT5Tokenizer
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from ccx_ray.errors import UserError
from ccx_ray.evaluation.model_tokenizer import tokens_of_span
from ccx_ray.evaluation.models import CausalModel, check_model_folder, load_causal_model
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.scoring import encode_probe
from tests.tokenizer_kinds import KINDS, write_model

PIECES = ("▁", "I", "t", "i", "s", "▁I", "▁It", "▁i", "▁is", "r", "e", "d", "▁r", "▁red", "b", ".")


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


def write_sentencepiece(folder: Path) -> Path:
    """A SentencePiece model of a few pieces, in place of the tokenizer's files."""
    write_model(folder, KINDS["Llama, adds BOS"]())
    model = sentencepiece.ModelProto()
    bytes_of = [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((one, 6) for one in bytes_of)]
    for number, (text, kind) in enumerate([*kinds, *((one, 1) for one in PIECES)]):
        model.pieces.add(piece=text, score=-float(number), type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    without(folder, "tokenizer.json", "tokenizer_config.json")
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
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


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="for installations without it")
def test_the_absent_package_is_named(tmp_path: Path) -> None:
    folder = write_sentencepiece(tmp_path)
    check_model_folder(folder)
    with pytest.raises(UserError, match=r"SentencePiece model tokenizer\.model, .* not installed; "
                                        r"pip install -e '\.\[sentencepiece\]'"):  # fmt: skip
        load_causal_model(folder, "cpu")


def test_a_sentencepiece_model_alone_is_opened(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    own = encoded(load_causal_model(write_sentencepiece(tmp_path), "cpu"))
    assert [marks.sum() for marks in own.option_tokens] == [1, 4]


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
