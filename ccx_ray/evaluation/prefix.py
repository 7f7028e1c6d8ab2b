"""What stands before a sentence that is scored, so that its first token has a score too.

The published rule is the end-of-text token, with which the documents of a training like the paper's
begin. Other models know another beginning, and lm-evaluation-harness takes the tokenizer's
beginning-of-sequence token, or its end-of-sequence token where there is none.

Invariant: for every score but ``reference``, what stands there by default is what
lm-evaluation-harness puts there, so that its accuracies come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ccx_ray.corpus.tokenizing.tokenizer import END_OF_TEXT
from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, Sentence
from ccx_ray.study.spec import ScoreType

PrefixRule = Literal["auto", "end_of_text", "bos", "eos", "none"]
PREFIX_RULES: tuple[PrefixRule, ...] = get_args(PrefixRule)


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """A token before every sentence, or none."""

    token: int | None
    """None: the first token of a sentence has no score."""
    reason: str
    repeated: bool = True
    """Whether it also stands before a sentence that begins with it already; not in the harness."""

    def before(self, ids: Sequence[int]) -> Sentence:
        """The token ids of a sentence with what stands before them."""
        given = self.token is None or (not self.repeated and ids[:1] == [self.token])
        return tuple(ids) if given or self.token is None else (self.token, *ids)


def published_prefix(model: CausalModel) -> Prefix:
    """The published rule: end-of-text."""
    return Prefix(token=model.first_token, reason="the published rule")


def choose_prefix(model: CausalModel, rule: PrefixRule, scoring: ScoreType) -> Prefix:
    """What stands before every sentence of a cloze question.

    Args:
        rule: ``auto`` is the published rule for ``reference`` on models like the paper's, else what
            the tokenizer's own users expect.

    Raises:
        UserError: the tokenizer has no such token.
    """
    if rule == "none":
        return Prefix(token=None, reason="the first token of a sentence has no score")
    if rule == "end_of_text":
        return published_prefix(model)
    if rule == "auto":
        return _usual_prefix(model, scoring)
    token: int | None = getattr(model.tokenizer, f"{rule}_token_id")
    if token is None:
        raise UserError(
            f"--prefix: {rule!r}, but the tokenizer of {model.folder} has no {rule}_token; "
            f"give one of {', '.join(one for one in PREFIX_RULES if one != rule)}"
        )
    return Prefix(token=token, reason=f"{rule}_token of the tokenizer", repeated=False)


def _usual_prefix(model: CausalModel, scoring: ScoreType) -> Prefix:
    own = Prefix(
        token=_own_first_token(model),
        reason="the tokenizer begins a text with it",
        repeated=False,
    )
    if scoring == "reference":
        if _is_like_the_papers(model):
            return published_prefix(model)
        if own.token is not None:
            return own
    token = harness_token(model)
    if token is not None:
        kind = "bos" if token == model.tokenizer.bos_token_id else "eos"
        reason = f"{kind}_token of the tokenizer, as in lm-evaluation-harness"
        return Prefix(token=token, reason=reason, repeated=False)
    if own.token is not None:
        return own
    return Prefix(token=None, reason="the tokenizer has no bos_token and no eos_token")


def harness_token(model: CausalModel) -> int | None:
    """What lm-evaluation-harness puts before a text without a context (``prefix_token_id``)."""
    bos: int | None = model.tokenizer.bos_token_id
    eos: int | None = model.tokenizer.eos_token_id
    return eos if bos is None else bos


def _is_like_the_papers(model: CausalModel) -> bool:
    """Whether documents of its training begin with end-of-text, and with no other token.

    So it is with Qwen2.5 and GPT-2, whose tokenizers have end-of-text and no other token for the
    beginning, and with every model that a study trained, which its config says.
    """
    end_of_text = model.end_of_text
    config = model.network.config.get_text_config()
    trained_so = [getattr(config, f"{one}_token_id", None) for one in ("bos", "eos")]
    named = END_OF_TEXT in model.tokenizer.get_vocab()
    other = model.tokenizer.bos_token_id not in (None, end_of_text)
    return end_of_text is not None and ((named and not other) or trained_so == [end_of_text] * 2)


def _own_first_token(model: CausalModel) -> int | None:
    """The one special token that the tokenizer puts before a text by itself, if it does."""
    with_special, without = (
        model.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False)
    )
    single = with_special[1 : 1 + len(without)] == without != with_special[: len(without)]
    return int(with_special[0]) if without and single else None
