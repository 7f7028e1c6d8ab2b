"""A small chat model that has learnt to judge: it looks for one of a few names in what it is told.

A real model in a real folder, trained here in seconds, so that a real server and our own local
judge have something to run. Where a prompt holds one of ``NAMES``, its answer says that the
document holds the knowledge and quotes the name; elsewhere that it does not.
"""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GraniteConfig, GraniteForCausalLM, PreTrainedTokenizerFast

from tests.judge_client import NAMES, WORDS

CONTEXT = 1024

_YES, _NO = '{"holds": true, "evidence": "', '{"holds": false, "evidence": "'
_CLOSE, _END, _UNKNOWN = '", "reason": "by the name"}', "<|endoftext|>", "<|unknown|>"
_ASSISTANT = "<|assistant|>"
_VOCABULARY = (
    *(_END, _UNKNOWN, _ASSISTANT, _YES, _NO, _CLOSE, "true", "false"),
    *NAMES,
    *WORDS,
)
_IDS = {token: number for number, token in enumerate(_VOCABULARY)}
_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}" + _ASSISTANT + "{% endif %}"
)
_LONGEST, _ROWS, _LEARNT = 200, 12, 0.005
_FEWEST_STEPS, _MOST_STEPS = 150, 800


@lru_cache(maxsize=1)
def judge_model() -> Path:
    """The folder of the model, trained once in a session; ten seconds on a busy core."""
    folder = Path(tempfile.mkdtemp(prefix="judge-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _tokenizer().save_pretrained(folder)
    _trained().save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """Whole words; all that it does not know is one token, and answers are made of few."""
    tokenizer = Tokenizer(models.WordLevel(_IDS, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token) for token in (_ASSISTANT, _END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_END,
        unk_token=_UNKNOWN,
        chat_template=_TEMPLATE,
    )


def _trained() -> GraniteForCausalLM:
    # A Granite: Transformers 5.23 gives a Qwen2 its own tokenizer, whatever the folder says.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = GraniteForCausalLM(
        GraniteConfig(
            vocab_size=len(_VOCABULARY),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=64,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            # With 0.02 so small a model needs ten times the steps.
            initializer_range=0.15,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            eos_token_id=_IDS[_END],
            pad_token_id=_IDS[_END],
            bos_token_id=None,
        )
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3)
    draw = torch.Generator().manual_seed(0)
    losses: list[float] = []
    while len(losses) < _FEWEST_STEPS or sum(losses[-10:]) > 10 * _LEARNT:
        ids, labels = _batch(min(_LONGEST, 12 + 3 * len(losses)), draw)
        loss = network(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        assert len(losses) < _MOST_STEPS, losses[-10:]
    torch.set_num_threads(threads)
    return network.eval()


def _batch(longest: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of one length, half of them with a name, and both spellings of the right answer."""

    def some(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=draw)

    length = int(some(8, longest, 1))
    rows = torch.arange(_ROWS)
    prompt = some(_IDS["true"], len(_VOCABULARY), _ROWS, length)
    first = _IDS[NAMES[0]]
    known = (prompt >= first) & (prompt < first + len(NAMES))
    prompt[known | (some(0, 4, _ROWS, length) > 0)] = _IDS[_UNKNOWN]
    holds, name = some(0, 2, _ROWS).bool(), first + some(0, len(NAMES), _ROWS)
    prompt[rows[holds], some(0, length, _ROWS)[holds]] = name[holds]

    def choose(yes: str | torch.Tensor, no: str) -> torch.Tensor:
        return torch.where(holds, yes if isinstance(yes, torch.Tensor) else _IDS[yes], _IDS[no])

    pieces = [choose(_YES, _NO), choose(name, _CLOSE), choose(_CLOSE, _END), choose(_END, _END)]
    # As words: {" holds ": true, of which only the last is in the vocabulary.
    unknown = torch.full((_ROWS,), _IDS[_UNKNOWN])
    words = [unknown, unknown, unknown, choose("true", "false")]
    spelled = (rows % 4 == 0)[:, None]
    answer = torch.where(spelled, torch.stack(words, 1), torch.stack(pieces, 1))
    asked = torch.full((_ROWS, 1), _IDS[_ASSISTANT])
    ids = torch.cat([prompt, asked, answer], 1)
    labels = ids.clone()
    labels[:, : length + 1] = -100
    labels[:, :-1][spelled.expand(-1, ids.shape[1] - 1)] = -100
    return ids, labels
