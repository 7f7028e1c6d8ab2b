"""The published rule, written again from its description: plain, unbatched, one sentence a pass.

Nothing of the package takes part in it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class PlainAnswer:
    """One question: mean cross-entropy of every option, and which of them wins."""

    losses: tuple[float, ...]
    choice: int
    correct: bool


def read_items(path: Path) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return items


def plain_answers(items: list[dict[str, Any]], model: Any, tokenizer: Any) -> Iterator[PlainAnswer]:
    """Score questions one forward pass an option, in fp32 on the model's device."""
    for item in items:
        losses = []
        for option in item["options"]:
            text = re.sub("_+", option.replace("\\", "\\\\"), item["question"])
            ids = tokenizer("<|endoftext|>" + text, return_tensors="pt").input_ids.to(model.device)
            with torch.no_grad():
                losses.append(model(ids, labels=ids).loss.item())
        _, choice = sorted(zip(losses, range(len(losses)), strict=True))[0]
        yield PlainAnswer(
            losses=tuple(losses),
            choice=choice,
            correct=item["options"][choice] == item["answer"],
        )
