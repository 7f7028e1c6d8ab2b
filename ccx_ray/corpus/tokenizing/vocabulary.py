"""What streams need to know of a tokenizer, whoever made it: ``vocabulary.json`` and
``byte_lengths.npy`` beside it, which are read in a millisecond where the tokenizer takes 100.

Invariant: end-of-text, padding and separator are three different tokens.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import publish_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
    """Write what streams need to know.

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
