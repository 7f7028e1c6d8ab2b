"""The study's own tokenizer: byte-level BPE with the Qwen2 pre-tokenizer, learnt from its text.

Invariants: the bytes of a text's tokens, one behind the other, are the UTF-8 of its NFC form;
text that spells a special token is ordinary text.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccx_ray.corpus.parts import part_files
from ccx_ray.errors import UserError
from ccx_ray.study.spec import TokenizerSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD)
SEPARATOR_TEXT = "\n"
"""Stands between the two sentences of a bridge document."""

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
    learnt = {code: sum(len(t.encode()) for t in sample) for code, sample in samples.items()}
    return {"vocabulary_size": size, "bytes_learnt_from": learnt}


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


class Encoder:
    """Text to token ids, without end-of-text tokens."""

    def __init__(self, tokenizer_folder: Path) -> None:
        self._tokenizer = _open(tokenizer_folder)

    def encode(self, texts: Sequence[str]) -> "pa.ListArray":
        """``list<int32>``, one entry a text."""
        import pyarrow as pa

        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        offsets = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
        ids = np.fromiter((i for encoding in encodings for i in encoding.ids), np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids, pa.int32()))


class Vocabulary:
    """What the streams need to know of a tokenizer."""

    def __init__(self, tokenizer_folder: Path) -> None:
        tokenizer = _open(tokenizer_folder)
        self.size: int = tokenizer.get_vocab_size()
        vocabulary = tokenizer.get_vocab()
        self.eos_id: int = vocabulary[END_OF_TEXT]
        self.pad_id: int = vocabulary[PAD]
        separator = tokenizer.encode(SEPARATOR_TEXT, add_special_tokens=False).ids
        assert len(separator) == 1, "a byte-level vocabulary holds every single byte"
        self.separator_id: int = separator[0]
        # Byte-level BPE writes every byte as one character, so characters count bytes.
        self.byte_lengths = np.zeros(self.size, np.int64)
        for token, index in vocabulary.items():
            self.byte_lengths[index] = 0 if token in SPECIAL_TOKENS else len(token)


def _open(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # a document may spell "<|endoftext|>"
    return tokenizer
