"""Asking a causal model in a Hugging Face folder, in this process.

The verdict is a comparison, so that every model gives one, a base model as a chat model: after the
same prompt as an endpoint gets, the answer ``{"holds": true`` or ``{"holds": false`` begins. At the
first token at which the two differ, the more probable one is the verdict; nothing is sampled, and a
tie is a refusal. What a model would have quoted nobody knows: the evidence is the sentence that
shares most terms with the question, and the reason says so.

Invariant: a document that does not fit is shown in part, never cut by the model unseen.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.frequency.judges.model_judge import Kept, ModelJudge
from ccx_ray.frequency.judges.prompting import Answer, Pair, fill_prompt, shown_part
from ccx_ray.frequency.judges.records import Tokens
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.study.frequency_spec import JudgeRuntime, LocalJudgeSpec

if TYPE_CHECKING:
    from ccx_ray.evaluation.models import CausalModel

HOLDS, HOLDS_NOT = '{"holds": true', '{"holds": false'
_SENTENCE = re.compile(r"[^\n.!?。！？།༎᠃]*[\n.!?。！？།༎᠃]*")


class LocalJudge(ModelJudge):
    """A causal model in a folder, loaded when it is first needed."""

    def __init__(
        self,
        spec: LocalJudgeSpec,
        runtime: JudgeRuntime,
        prompt: str,
        cache_file: Path,
        *,
        folder: Path,
    ) -> None:
        super().__init__(cache_file)
        self._spec, self._runtime, self._prompt = spec, runtime, prompt
        self._folder = folder

    @cached_property
    def _model(self) -> "CausalModel":
        # In fp32 on a GPU, too: the device is no part of what decides a verdict.
        return load_causal_model(self._folder, _device(self._runtime))

    def show(self, request: Request) -> Pair:
        """The window of the spec, narrowed until the prompt fits the model's context."""
        width = self._spec.window_characters
        shown = shown_part(request, width)
        context = self._model.context
        if context is None:
            return shown
        while (tokens := len(self._tokens(shown)[0])) > context:
            if not shown.text:
                raise UserError(
                    f"{self._folder}: the prompt has {tokens} tokens without a document, but the "
                    f"context of the model is {context}; give a shorter prompt, or a model with a "
                    "longer context"
                )
            # A little more than in proportion, since the prompt's own words do not get fewer.
            width = int(min(width, len(shown.text)) * min(0.9, context / tokens))
            shown = shown_part(request, width)
        if len(shown.text) < min(self._spec.window_characters, len(request.document.text)):
            self.counts["narrowed"] += 1
        return shown

    def answer(self, pairs: Sequence[Pair], kept: Kept) -> None:
        import torch

        for pair in pairs:
            before, holds, holds_not = self._tokens(pair)
            ids = torch.tensor([before], device=self._model.device)
            with torch.inference_mode():
                logits = self._model.network(input_ids=ids, logits_to_keep=1).logits[0, -1].float()
            odds = float(logits[holds] - logits[holds_not])
            evidence = best_sentence(pair.text, pair.cloze) if odds > 0 else ""
            reason = f"log-odds {odds:+.3f} that it holds"
            if evidence:
                reason += "; the sentence with most of the question's terms"
            answer = Answer(holds=odds > 0, evidence=evidence, reason=reason)
            kept.answer(pair, answer, f"{odds!r}", self._folder.name, Tokens(len(before), 0))

    def check_unreadable(self, faults: Mapping[str, str], pairs: int) -> None:
        """A comparison of two numbers can always be read."""

    def _tokens(self, pair: Pair) -> tuple[list[int], int, int]:
        """The ids before the answers differ, and the id with which each goes on."""
        tokenizer = self._model.tokenizer
        prompt = fill_prompt(self._prompt, [pair])
        chat = bool(tokenizer.chat_template)
        if chat:
            messages = [{"role": "user", "content": prompt}]
            prompt = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        # A chat template writes the special tokens itself.
        yes, no = (
            tokenizer(f"{prompt}{answer}" if chat else f"{prompt}\n\n{answer}",
                      add_special_tokens=not chat, verbose=False).input_ids
            for answer in (HOLDS, HOLDS_NOT)
        )  # fmt: skip
        both = enumerate(zip(yes, no, strict=False))
        same = next((place for place, (one, other) in both if one != other), None)
        if same is None:
            raise UserError(
                f"{self._folder}: its tokenizer gives {HOLDS} and {HOLDS_NOT} the same tokens; "
                "give a model with an English tokenizer"
            )
        return yes[:same], yes[same], no[same]


def best_sentence(text: str, cloze: Cloze) -> str:
    """The first of the sentences that share most terms with the filled question; empty if none."""
    sought = frozenset(terms_of(normalize(cloze.statement)))
    best, most = "", 0
    for found in _SENTENCE.finditer(text):
        shared = len(sought.intersection(terms_of(normalize(found.group()))))
        if shared > most:
            best, most = found.group().strip(), shared
    return best


def _device(runtime: JudgeRuntime) -> str:
    if not runtime.gpus:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"runtime.judge.gpus: {runtime.gpus:g} is given, but torch finds no GPU; set it to 0"
        )
    return "cuda"
