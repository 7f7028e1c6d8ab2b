"""A network that takes over the next checkpoint's weights is the one that a fresh load gives."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, WarmModels, load_causal_model
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.evaluation.scoring import encode_probe_file, score_encoded
from tests.probe_models import PROBES, score_probe, write_random_model


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints of one training: equal but for their weights."""
    first = write_random_model(tmp_path_factory.mktemp("step-000001"))
    return [first, *(moved(first, seed) for seed in (1, 2))]


def moved(folder: Path, seed: int) -> Path:
    """A copy of the folder with other weights."""
    target = Path(f"{folder}-moved-{seed}")
    shutil.copytree(folder, target)
    torch.manual_seed(seed)
    weights = load_file(target / "model.safetensors")
    save_file(
        {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in weights.items()},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    return target


def tensors(model: CausalModel) -> dict[str, torch.Tensor]:
    """All that a network computes with, buffers that no file holds included."""
    own = {
        f"{module_name}.{name}": tensor
        for module_name, module in model.network.named_modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    }
    return {name: tensor.detach().clone() for name, tensor in own.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_reused_networks_equal_fresh_ones(checkpoints: list[Path]):
    models, networks = WarmModels("cpu"), set()
    for folder in (*checkpoints, checkpoints[0]):
        warm = models.load(folder)
        networks.add(id(warm.network))
        assert warm.folder == folder
        assert same(tensors(warm), tensors(load_causal_model(folder, "cpu")))
    assert len(networks) == 1


def test_scores_of_reused_networks_and_probes_equal_fresh_ones(
    checkpoints: list[Path], tmp_path: Path
):
    file = tmp_path / "ko-en.json"
    english = next(path for path in PROBES if path.stem == "ko-culture-cloze_en")
    file.write_text(json.dumps(json.loads(english.read_text("utf-8"))[:30]), "utf-8")
    models = WarmModels("cpu")
    for folder in checkpoints:
        model = models.load(folder)
        encoded = encode_probe_file(model, "ko-en", file)
        assert encode_probe_file(model, "ko-en", file) is encoded
        warm = score_encoded(model, encoded, tokens_per_batch=2048)
        fresh = score_probe(
            load_causal_model(folder, "cpu"), load_probe(file, "ko-en"), tokens_per_batch=2048
        )
        assert [item.scores("reference") for item in warm] == [
            item.scores("reference") for item in fresh
        ]


def test_another_config_or_tokenizer_is_loaded_afresh(checkpoints: list[Path], tmp_path: Path):
    models = WarmModels("cpu")
    first = models.load(checkpoints[0])
    config = tmp_path / "config"
    shutil.copytree(checkpoints[1], config)
    content = json.loads((config / "config.json").read_text("utf-8"))
    (config / "config.json").write_text(json.dumps({**content, "rope_theta": 5.0}), "utf-8")
    second = models.load(config)
    assert second.network is not first.network
    assert same(tensors(second), tensors(load_causal_model(config, "cpu")))
    tokenizer = tmp_path / "tokenizer"
    shutil.copytree(config, tokenizer)
    path = tokenizer / "tokenizer_config.json"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    assert models.load(tokenizer).network is not second.network


def test_a_failed_load_leaves_no_mixed_network(checkpoints: list[Path], tmp_path: Path):
    models = WarmModels("cpu")
    models.load(checkpoints[0])
    torn = tmp_path / "torn"
    shutil.copytree(checkpoints[1], torn)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="Transformers cannot open it"):
        models.load(torn)
    assert same(
        tensors(models.load(checkpoints[2])), tensors(load_causal_model(checkpoints[2], "cpu"))
    )


def test_untied_and_sharded_weights_are_replaced_too(checkpoints: list[Path], tmp_path: Path):
    models, folders = WarmModels("cpu"), []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        shutil.copytree(checkpoints[0], folder)
        (folder / "model.safetensors").unlink()
        torch.manual_seed(seed)
        config = Qwen2Config.from_pretrained(checkpoints[0], tie_word_embeddings=False)
        Qwen2ForCausalLM(config).save_pretrained(folder, max_shard_size="1MB")
        assert len(list(folder.glob("*.safetensors"))) > 1
        folders.append(folder)
    networks = []
    for folder in folders:
        warm = models.load(folder)
        networks.append(warm.network)
        assert same(tensors(warm), tensors(load_causal_model(folder, "cpu")))
    assert networks[0] is networks[1]


def test_weights_that_transformers_rebuilds_are_loaded_afresh(
    checkpoints: list[Path], tmp_path: Path
):
    """Experts lie one by one in the files, and stacked in the network."""
    from transformers import MixtralConfig, MixtralForCausalLM

    folders = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        shutil.copytree(checkpoints[0], folder)
        torch.manual_seed(seed)
        MixtralForCausalLM(
            MixtralConfig(
                vocab_size=4096,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                num_local_experts=2,
            )
        ).save_pretrained(folder)
        folders.append(folder)
    models = WarmModels("cpu")
    for folder in folders:
        warm = models.load(folder)
        fresh = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for (name, ours), theirs in zip(
            warm.network.named_parameters(), fresh.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs), name
