"""The study's tokenizer: learnt from its own text, or taken from Hugging Face.

A learnt one is byte-level BPE with the Qwen2 pre-tokenizer. Invariants: the bytes of its tokens,
one behind the other, are the UTF-8 of the text's NFC form; text that spells a special token is
ordinary text; end-of-text, padding and the separator of bridges are three different tokens.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.parts import read_batches
from ccx_ray.corpus.tokenizing.encoding import END_OF_TEXT, PAD, SPECIAL_TOKENS, describe_vocabulary
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import TokenizerSpec

Keys = npt.NDArray[np.uint64]

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

    Args:
        root: folder that a relative path starts from.

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
            "give a tokenizer folder, or a name on a hub that can be reached"
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
