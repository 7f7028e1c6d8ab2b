"""The tokenizer of a model's folder: opened, checked, and which of its tokens hold what.

Invariants: whatever Transformers opens is opened. What it would make up is refused: in place of a
vocabulary that it does not find or cannot read it builds an empty one, in which every text is no
token or an unknown one; and of a SentencePiece model alone it makes a tokenizer of another kind
where the folder names no class (5.23), whose tokens are none that the model was trained with. No id
is given out that the model has no embedding for.
"""

import json
import logging
from bisect import bisect_left
from collections.abc import Sequence
from difflib import SequenceMatcher
from fnmatch import filter as matching
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

VOCABULARIES = (
    "tokenizer.json",
    "vocab*",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "*.spm",
    "*.codes",
)
_SENTENCEPIECE = ("*.model", "*.spm")
_CONFIG = "tokenizer_config.json"
_SAMPLES = (
    "The capital of Korea is Seoul, and 1987 people live there.",
    "수도는 서울이다.",
    "中国的首都是北京。",
    "བོད་ཀྱི་རྒྱལ་ས་ནི་ལྷ་ས་ཡིན།",
    "Монгол Улсын нийслэл Улаанбаатар.",
    "Ａ급, ①",
)
"""Texts that a tokenizer and the SentencePiece model that it was made of must cut alike."""
_NAMED = "tokenizer.json, vocab.txt, tokenizer.model or another vocabulary"


def check_tokenizer_files(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder without a vocabulary, unless its kind of tokenizer has none (ByT5).

    Args:
        names: of the files that the folder holds, or points to.
    """
    if any(matching(names, pattern) for pattern in VOCABULARIES):
        return
    if _needs_no_vocabulary(folder):
        return
    raise UserError(
        f"{folder}: no tokenizer ({_NAMED}); "
        "give a folder written by save_pretrained of both the model and its tokenizer"
    )


def _needs_no_vocabulary(folder: Path) -> bool:
    name = _named_class(folder)
    if name is None:
        return False
    import transformers

    kind = getattr(transformers, name, None)
    return kind is not None and not getattr(kind, "vocab_files_names", {"": ""})


def _named_class(folder: Path) -> str | None:
    """The class of tokenizer that a folder names."""
    try:
        return str(json.loads((folder / _CONFIG).read_text("utf-8"))["tokenizer_class"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_tokenizer(local: Path, folder: Path) -> "PreTrainedTokenizerBase":
    """Open a tokenizer.

    Args:
        local: where the files lie.
        folder: as the user calls it.

    Raises:
        UserError: it cannot be opened, or has no vocabulary.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(local, local_files_only=True)
    except Exception as error:
        # A broken folder shows itself in any of a dozen exceptions of four libraries.
        _name_absent_sentencepiece(local, folder)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{folder}: Transformers cannot open its tokenizer: {reason[:300]}"
        ) from error
    added = {*getattr(tokenizer, "added_tokens_decoder", ()), *tokenizer.all_special_ids}
    if added.issuperset(tokenizer.get_vocab().values()):
        _name_absent_sentencepiece(local, folder)
        found = ", ".join(sorted(path.name for path in local.glob("*") if _is_vocabulary(path)))
        raise UserError(
            f"{folder}: Transformers opens its tokenizer as {type(tokenizer).__name__}, which "
            f"finds no vocabulary in {found or _CONFIG}; set the right tokenizer_class in "
            f"{_CONFIG}, such as BertTokenizer for a vocab.txt"
        )
    _check_sentencepiece(tokenizer, local, folder)
    return tokenizer


def _is_vocabulary(path: Path) -> bool:
    return any(path.match(pattern) for pattern in VOCABULARIES)


def _sentencepiece_alone(local: Path) -> Path | None:
    """The SentencePiece model of a folder without a tokenizer.json."""
    if (local / "tokenizer.json").exists():
        return None
    return next((path for one in _SENTENCEPIECE for path in sorted(local.glob(one))), None)


def _name_absent_sentencepiece(local: Path, folder: Path) -> None:
    """Say so where the package is what is missing; Transformers asks for others instead."""
    model = _sentencepiece_alone(local)
    if model is not None and find_spec("sentencepiece") is None:
        raise UserError(
            f"{folder}: its tokenizer is the SentencePiece model {model.name}, but the package "
            "sentencepiece is not installed; pip install -e '.[sentencepiece]', or give a folder "
            "with a tokenizer.json"
        ) from None


def _check_sentencepiece(tokenizer: "PreTrainedTokenizerBase", local: Path, folder: Path) -> None:
    """Refuse a tokenizer made of a SentencePiece model alone that cuts texts in another way.

    Some named classes do so by design (XLNet's cuts commas from numbers), so of a class that the
    folder names only one of the other kind, BPE of a unigram model or the reverse, is refused, and
    any other is warned about (Llama's makes no width narrow, whatever the model says).
    """
    path = _sentencepiece_alone(local)
    if path is None or not tokenizer.is_fast:
        return
    _name_absent_sentencepiece(local, folder)
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

    try:
        own = SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError:  # another format of the same name, such as Llama 3's
        return

    def pieces(text: str) -> list[str]:
        ids = own.encode(text)
        return [tokenizer.unk_token if one == own.unk_id() else own.id_to_piece(one) for one in ids]

    others = [
        text
        for text, (ids, _) in zip(_SAMPLES, encode_texts(tokenizer, _SAMPLES), strict=True)
        if tokenizer.convert_ids_to_tokens(ids) != pieces(text)
    ]
    if not others:
        return
    proto = ModelProto.FromString(path.read_bytes())
    kind = "Unigram" if proto.trainer_spec.model_type == proto.trainer_spec.UNIGRAM else "BPE"
    opened = type(tokenizer.backend_tokenizer.model).__name__
    if _named_class(local) is None or opened != kind:
        likely = "T5Tokenizer" if kind == "Unigram" else "LlamaTokenizer"
        raise UserError(
            f"{folder}: Transformers opens {path.name}, a SentencePiece model ({kind}), as "
            f"{type(tokenizer).__name__} ({opened}), which gives other tokens; set the right "
            f"tokenizer_class in {_CONFIG}, such as {likely}, or give a folder with a "
            "tokenizer.json"
        )
    logger.warning(
        "%s: Transformers opens %s as %s, which cuts %d of %d samples into other tokens than the "
        "SentencePiece model, such as %r; see that it was trained with these",
        *(folder, path.name, type(tokenizer).__name__, len(others), len(_SAMPLES), others[0]),
    )


def check_ids(tokenizer: "PreTrainedTokenizerBase", embeddings: int, folder: Path) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for."""
    if len(tokenizer) > embeddings:
        raise UserError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model only {embeddings}; "
            "give the tokenizer that the model was trained with"
        )
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if highest >= embeddings:
        raise UserError(
            f"{folder}: its tokenizer gives {token!r} the id {highest}, but its model has only the "
            f"ids 0 to {embeddings - 1}; give the tokenizer that the model was trained with"
        )


def encode_texts(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]
) -> list[tuple[list[int], Any]]:
    """Ids of every text without special tokens, and the ``(start, end)`` characters of each token;
    None for a tokenizer in Python, which keeps no offsets."""
    if tokenizer.is_fast:
        # Not by way of Transformers, whose conversion of the result takes longer than the model.
        backend = tokenizer.backend_tokenizer
        # Which some tokenizer.json ask for, left over from a training.
        backend.no_truncation()
        backend.no_padding()
        found = backend.encode_batch(list(texts), add_special_tokens=False)
        return [(one.ids, one.offsets) for one in found]
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [(ids, None) for ids in encoded]


def tokens_of_span(
    tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], text: str, begin: int, end: int
) -> slice:
    """The tokens that hold characters ``[begin, end)`` of a text, or a byte of one of them.

    For tokenizers that keep no offsets. What tokens hold is told by decoding those before and those
    behind: a character that is whole in neither is divided between them.
    """

    def decode(some: Sequence[int]) -> str:
        return str(tokenizer.decode(list(some), clean_up_tokenization_spaces=False))

    whole = decode(ids)
    begin, end = _same_span(text, whole, begin, end)

    def starts(token: int) -> int:
        """The first character that is not whole before the token."""
        return _common(decode(ids[:token]), whole)

    def ends(token: int) -> int:
        """The first character that is whole behind the token."""
        behind = decode(ids[token + 1 :])[::-1]
        return len(whole) - _common(behind, whole[::-1])

    tokens = range(len(ids))
    first = bisect_left(tokens, True, key=lambda token: ends(token) > begin)
    return slice(first, bisect_left(tokens, True, key=lambda token: starts(token) >= end))


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _same_span(text: str, decoded: str, begin: int, end: int) -> tuple[int, int]:
    """A span of a text in what its tokens decode to, where case, spaces and more may differ."""
    if text == decoded:
        return begin, end
    one, other = (
        "".join(character.lower()[:1] for character in some) for some in (text, decoded)
    )  # each of as many characters as before
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    first, last = 0, len(decoded)
    for block in blocks:
        shift = block.b - block.a
        if block.a <= begin:
            first = min(begin, block.a + block.size) + shift
        if end <= block.a + block.size:
            last = max(end, block.a) + shift
            break
    # Spaces that decoding puts around a token are no part of what is unknown there.
    held, around = text[begin:end], decoded[first:last]
    if held.strip() == held:
        first += len(around) - len(around.lstrip())
        last -= len(around) - len(around.rstrip())
    return first, last
