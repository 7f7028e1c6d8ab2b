"""The study's tokenizer, learnt from its own text or taken from Hugging Face; text to token ids.

A learnt one is byte-level BPE with the Qwen2 pre-tokenizer. Invariants: the bytes of its tokens,
one behind the other, are the UTF-8 of the text's NFC form; text that spells a special token is
ordinary text; end-of-text, padding and the separator of bridges are three different tokens, whoever
made the tokenizer.

Text is encoded by gigatoken, which is built from the same ``tokenizer.json`` and runs at 55 to 280
MB/s on one core where Hugging Face's tokenizers runs at 1.5 to 3.4 (16 k byte-level BPE, bundled
text). It is young, so every part is checked: on a sample of its own texts both must agree.
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.parts import read_batches
from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.text_spec import TokenizerSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Keys = npt.NDArray[np.uint64]

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD)
SEPARATOR_TEXT = "\n"
"""Stands between the two sentences of a bridge document."""
DESCRIPTION = "vocabulary.json"
BYTE_LENGTHS = "byte_lengths.npy"

# One sentence of every script of the paper, and what tokenizers are apt to treat in a way of their
# own: blanks, line breaks, digits, contractions, the text of a special token.
CANARIES = (
    "The cat's 1,234 whiskers.\n\n  Twice   blank, <|endoftext|> and <|pad|> spelt out.\t",
    "한국의 김치는 발효 음식이다. 각",
    "茶馬古道，又稱「茶道」。",
    "བོད་ཀྱི་རྩམ་པ་ནི་ཟས་ཤིག་ཡིན།",
    "ᠮᠣᠩᠭᠣᠯ ᠤᠨ ᠠᠷᠠᠳ᠎ᠠ",
)
SAMPLE_TEXTS = 16
SAMPLE_CHARACTERS = 500
"""Of each; the check of a part then costs as much as encoding 1 MB."""

# Qwen2's, see transformers' Qwen2Tokenizer: letters with one leading sign, single digits, signs.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    spec: TokenizerSpec, text_folders: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    """Learn the merges and write a folder that ``AutoTokenizer`` opens.

    Args:
        text_folders: language -> text folder; of each language at most
            ``megabytes_per_language`` of documents and of target sentences are used.

    Returns:
        vocabulary size and bytes learnt from by language.

    Raises:
        UserError: the text is too small for a vocabulary of this size.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    limit = int(spec.megabytes_per_language * 1e6)
    samples = {code: _sample(path, limit) for code, path in sorted(text_folders.items())}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (text.as_py() for sample in samples.values() for text in sample), trainer
    )
    size = tokenizer.get_vocab_size()
    if size != spec.vocabulary_size:
        raise UserError(
            f"tokenizer.vocabulary_size: {spec.vocabulary_size} cannot be learnt from this text; "
            f"give at most {size} or raise tokenizer.megabytes_per_language"
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    describe_vocabulary(folder, END_OF_TEXT, PAD)
    learnt = {code: pc.sum(pc.binary_length(sample)) for code, sample in samples.items()}
    return {
        "vocabulary_size": size,
        "bytes_learnt_from": {code: total.as_py() or 0 for code, total in learnt.items()},
    }


def adopt_tokenizer(spec: TokenizerSpec, root: Path, folder: Path) -> dict[str, Any]:
    """Take a tokenizer from a folder or from the hub, and add a padding token where it has none.

    Raises:
        UserError: it cannot be opened, has no fast form or no end-of-text token, cannot tell a
            line break, or its size is not the one that the study names.
    """
    from transformers import AutoTokenizer

    assert spec.pretrained is not None
    local = root / spec.pretrained
    field = f"tokenizer.pretrained: {spec.pretrained!r}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(local) if local.is_dir() else spec.pretrained, revision=spec.revision or "main"
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{field} cannot be opened ({str(error).splitlines()[0]}); "
            "give a tokenizer folder, or a name on a reachable hub"
        ) from None
    if not tokenizer.is_fast:
        raise UserError(f"{field} has no tokenizer.json; give a fast tokenizer")
    known = tokenizer.get_vocab()
    end_of_text = END_OF_TEXT if END_OF_TEXT in known else tokenizer.eos_token
    if end_of_text is None:
        raise UserError(f"{field} has no end-of-text token; set eos_token in its config")
    if tokenizer.pad_token in (None, end_of_text):
        # Padding carries no loss, so it must not be a token that a model has to learn.
        tokenizer.add_special_tokens({"pad_token": PAD})
    if len(tokenizer) != spec.vocabulary_size:
        raise UserError(
            f"tokenizer.vocabulary_size: {spec.vocabulary_size}, but {spec.pretrained} has "
            f"{len(tokenizer)} tokens with padding; give {len(tokenizer)}"
        )
    tokenizer.save_pretrained(folder)
    describe_vocabulary(folder, end_of_text, tokenizer.pad_token)
    return {"vocabulary_size": len(tokenizer), "pretrained": spec.pretrained}


def _sample(text_folder: Path, limit: int) -> pa.LargeStringArray:
    """Texts in an order that depends on their ids alone, the last one cut at ``limit`` bytes.

    Memory: about four times ``limit``, whatever the size of the text folder: texts that cannot be
    among the first any more are dropped while the folder is read.
    """
    keys, texts = np.zeros(0, np.uint64), pa.array([], pa.large_string())
    waiting: list[tuple[Keys, pa.LargeStringArray]] = []
    added, last = 0, np.iinfo(np.uint64).max
    for kind, column in (("documents", "text"), ("pairs", "target")):
        for batch in read_batches(text_folder / kind, ["id", column]):
            drawn = _order_keys(kind, batch.column(0))
            here = np.flatnonzero(drawn <= last)
            some = batch.column(1).take(pa.array(here)).cast(pa.large_string())
            waiting.append((drawn[here], some))
            added += pc.sum(pc.binary_length(some)).as_py() or 0
            if added > limit // 4:
                keys, texts, full = _first_bytes([(keys, texts), *waiting], limit)
                waiting, added = [], 0
                last = int(keys[-1]) if full else last
    _, texts, full = _first_bytes([(keys, texts), *waiting], limit)
    if full:
        whole, cut = texts[:-1], texts[-1].as_py().encode()
        left = limit - (pc.sum(pc.binary_length(whole)).as_py() or 0)
        end = pa.array([cut[:left].decode(errors="ignore")], pa.large_string())
        texts = pa.concat_arrays([whole, end])
    return texts


def _order_keys(kind: str, ids: pa.StringArray) -> Keys:
    """[ids] numbers that decide the order of the sample."""
    digests = (blake2b(f"{kind}:{i}".encode(), digest_size=8).digest() for i in ids.to_pylist())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _first_bytes(
    drawn: Sequence[tuple[Keys, pa.LargeStringArray]], limit: int
) -> tuple[Keys, pa.LargeStringArray, bool]:
    """Keys and texts in the order of the keys until they hold ``limit`` bytes; whether they do."""
    keys = np.concatenate([keys for keys, _ in drawn])
    order = np.argsort(keys, kind="stable")
    texts = pa.concat_arrays([texts for _, texts in drawn])
    ends = np.cumsum(pc.binary_length(texts).to_numpy()[order])
    order = order[: np.searchsorted(ends, limit) + 1]
    return keys[order], texts.take(pa.array(order)), bool(len(ends) and ends[-1] >= limit)


class Vocabulary:
    """What the streams need to know of a tokenizer."""

    def __init__(self, tokenizer_folder: Path) -> None:
        description = json.loads((tokenizer_folder / DESCRIPTION).read_text("utf-8"))
        self.size: int = description["size"]
        self.eos_id: int = description["eos_id"]
        self.pad_id: int = description["pad_id"]
        self.separator_id: int = description["separator_id"]
        self.byte_lengths: npt.NDArray[np.uint16] | None = None
        """[size] bytes that each token spells, 0 for special ones; None where that depends on the
        text around it, so that it is noted token by token."""
        if description["byte_level"]:
            self.byte_lengths = np.load(tokenizer_folder / BYTE_LENGTHS)


def describe_vocabulary(tokenizer_folder: Path, end_of_text: str, pad: str) -> None:
    """Write what streams need to know; see ``Vocabulary``.

    Raises:
        UserError: the tokenizer has no token for a line break.
    """
    tokenizer = open_tokenizer(tokenizer_folder)
    separator = tokenizer.encode(SEPARATOR_TEXT, add_special_tokens=False).ids
    description = {
        "size": tokenizer.get_vocab_size(),
        "eos_id": tokenizer.token_to_id(end_of_text),
        "pad_id": tokenizer.token_to_id(pad),
        # A word-marker may come before it (SentencePiece); the last token is the line break.
        "separator_id": separator[-1] if separator else None,
    }
    special = [description[name] for name in ("eos_id", "pad_id", "separator_id")]
    if None in special or len(set(special)) < len(special):
        raise UserError(
            "tokenizer.pretrained: its end-of-text, its padding and its line break are not three "
            f"different tokens ({special}); give a tokenizer that keeps line breaks"
        )
    lengths = _byte_lengths(tokenizer)
    byte_level = all(
        int(lengths[tokenizer.encode(text, add_special_tokens=False).ids].sum())
        == len(text.encode())
        for text in CANARIES
    )
    if byte_level:
        np.save(tokenizer_folder / BYTE_LENGTHS, lengths)
    publish_json(tokenizer_folder / DESCRIPTION, {**description, "byte_level": byte_level})


def open_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of a folder; a document that spells a special token is ordinary text to it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def _byte_lengths(tokenizer: "Tokenizer") -> npt.NDArray[np.uint16]:
    """[size] of a byte-level vocabulary, which writes every byte as one character."""
    lengths = np.zeros(tokenizer.get_vocab_size(), np.uint16)
    for token, index in tokenizer.get_vocab().items():
        lengths[index] = len(token)
    for index, added in tokenizer.get_added_tokens_decoder().items():
        lengths[index] = 0 if added.special else len(added.content.encode())
    return lengths


class Encoded(NamedTuple):
    """One entry a text, without special tokens."""

    ids: pa.ListArray
    """``list<int32>``"""
    byte_lengths: pa.ListArray | None
    """``list<int32>`` bytes that each token spells, where the vocabulary alone does not say."""


@lru_cache(maxsize=1)
def open_encoder(tokenizer_folder: Path) -> "Encoder":
    """The encoder of a folder, opened once a process: that takes as long as encoding 10 MB."""
    return Encoder(tokenizer_folder)


class Encoder:
    """The tokenizer of a folder."""

    def __init__(self, tokenizer_folder: Path) -> None:
        self._reference = open_tokenizer(tokenizer_folder)
        self._byte_level = Vocabulary(tokenizer_folder).byte_lengths is not None
        self._fast = None
        self.fallback = "" if self._byte_level else "the tokenizer is not byte-level"
        """Why the reference is used; empty while the fast tokenizer is."""
        if self._byte_level and importlib.util.find_spec("gigatoken") is None:
            self.fallback = "gigatoken is not installed"
        elif self._byte_level:
            import gigatoken

            content = json.loads((tokenizer_folder / "tokenizer.json").read_text("utf-8"))
            # Without its special tokens it takes text that spells one for ordinary text.
            ordinary = [token for token in content["added_tokens"] if not token["special"]]
            content["added_tokens"] = ordinary
            self._fast = gigatoken.Tokenizer.from_json(json.dumps(content))

    def check(self, texts: pa.Array) -> None:
        """Compare both on a sample of texts; where they differ, the reference is used from now."""
        if self._fast is None:
            return
        rows = np.linspace(0, len(texts) - 1, min(len(texts), SAMPLE_TEXTS)).astype(np.int64)
        own = [text[:SAMPLE_CHARACTERS] for text in texts.take(pa.array(rows)).to_pylist()]
        sample = pa.array([*CANARIES, *own], pa.string())
        fast, reference = self._encode_fast(sample), self._encode_reference(sample.to_pylist())
        if not fast.equals(reference.ids):
            self._fast = None
            self.fallback = "gigatoken gives other ids than tokenizers"

    def encode(self, texts: pa.Array) -> Encoded:
        """The ids of some texts, strings without nulls."""
        if self._fast is not None:
            return Encoded(self._encode_fast(texts), None)
        return self._encode_reference(texts.to_pylist())

    def _encode_fast(self, texts: pa.Array) -> pa.ListArray:
        import awkward

        assert self._fast is not None
        if not len(texts):
            return pa.array([], pa.list_(pa.int32()))
        # Without Python strings between; its own threads would compete with the other tasks.
        borrowed = awkward.from_arrow(texts.cast(pa.large_string()))
        layout = self._fast.encode_batch(borrowed, parallel=False).layout
        offsets = np.asarray(layout.offsets.data).astype(np.int32)
        return _lists(offsets, np.asarray(layout.content.data).view(np.int32))

    def _encode_reference(self, texts: list[str]) -> Encoded:
        tokenizer = self._reference
        encode = tokenizer.encode_batch_fast if self._byte_level else tokenizer.encode_batch
        encodings = encode(texts, add_special_tokens=False)
        offsets = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
        ids = np.fromiter((i for encoding in encodings for i in encoding.ids), np.int32)
        if self._byte_level:
            return Encoded(_lists(offsets, ids), None)
        lengths = [
            _spelt_bytes(text, encoding.offsets)
            for text, encoding in zip(texts, encodings, strict=True)
        ]
        flat = np.concatenate([np.zeros(0, np.int32), *lengths])
        return Encoded(_lists(offsets, ids), _lists(offsets, flat))


def _spelt_bytes(text: str, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.int32]:
    """[tokens] bytes of the text from the end of the token before to the end of this one."""
    sizes = [len(character.encode()) for character in text]
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[[end for _, end in spans]]
    return np.diff(np.maximum.accumulate(ends), prepend=0).astype(np.int32)


def _lists(offsets: npt.NDArray[np.int32], values: npt.NDArray[np.int32]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
