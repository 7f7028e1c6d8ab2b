"""The study's tokenizer: learnt from its own text, or taken from Hugging Face.

A learnt one is byte-level BPE with the Qwen2 pre-tokenizer. Invariants: the bytes of its tokens,
one behind the other, are the UTF-8 of the text's NFC form; text that spells a special token is
ordinary text; end-of-text, padding and the separator of bridges are three different tokens.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.tokenizing.vocabulary import (
    END_OF_TEXT,
    PAD,
    SPECIAL_TOKENS,
    describe_vocabulary,
)
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import TokenizerSpec

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
    samples = {code: list(_sample(path, limit)) for code, path in sorted(text_folders.items())}
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
    tokenizer.train_from_iterator((text for sample in samples.values() for text in sample), trainer)
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
    learnt = {code: sum(len(t.encode()) for t in sample) for code, sample in samples.items()}
    return {"vocabulary_size": size, "bytes_learnt_from": learnt}


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


def _sample(text_folder: Path, limit: int) -> Iterator[str]:
    """Texts in an order that depends on their ids alone, the last one cut at ``limit`` bytes."""
    import pyarrow.parquet as pq

    texts: list[tuple[bytes, str]] = []
    for kind, column in (("documents", "text"), ("pairs", "target")):
        for part in part_files(text_folder / kind):
            table = pq.read_table(part, columns=["id", column])
            ids = table["id"].to_pylist()
            for id_, text in zip(ids, table[column].to_pylist(), strict=True):
                texts.append((blake2b(f"{kind}:{id_}".encode(), digest_size=8).digest(), text))
    for _, text in sorted(texts):
        content = text.encode()[:limit]
        limit -= len(content)
        if not content:
            return
        yield content.decode(errors="ignore")
