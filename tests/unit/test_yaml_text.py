"""Study files are read as YAML 1.2 has it; what would surprise is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.yaml_text import comment_in, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("y", "y"), ("true", True), ("False", False),
        ("010", 10), ("0x1f", 31), ("0o17", 15), ("-5", -5), ("1_000", "1_000"),
        ("1e-4", 1e-4), ("1.5E3", 1500.0), (".5", 0.5), ("5.", 5.0), (".inf", float("inf")),
        ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("~", None), ("", None),
        ("'no'", "no"), ("'010'", "010"), ("- .", ["."]),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert read_yaml(text) == value
    assert type(read_yaml(text)) is type(value)


def test_the_shipped_studies_say_the_same_in_both_versions() -> None:
    for path in shipped_studies().values():
        text = path.read_text("utf-8")
        ours, plain = read_yaml(text), yaml.safe_load(text)
        assert ours == plain, path.name


def test_merge_keys_are_kept() -> None:
    assert read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}")["b"] == {"x": 3, "y": 2}


LINES = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nname: x\nseed: 2", "the key 'seed' is repeated; it is first in line 1"),
        ("base: {steps: 1, steps: 1}", "the key 'steps' is repeated"),
        ("a: &a {b: *a}", "an alias contains itself"),
        ("a: &a [*a]", "an alias contains itself"),
        ("a0: &a0 [1, 1]\n" + LINES, "more than 100,000 values with aliases expanded"),
        ("? [1]\n: 2", "the name of a field must be text"),
        ("name: !!int abc", "invalid literal for int"),
        ("name: !!float abc", "could not convert string to float"),
        ("name: !!bool abc", "abc"),
        ("seed: " + "9" * 5000, "4300 digits"),
        ("name: !!binary aGVsbG8=", "could not determine a constructor"),
        ("name: !!set {a, b}", "could not determine a constructor"),
        ("name: !!timestamp 2026-01-01", "could not determine a constructor"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_what_would_surprise_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        read_yaml(text)
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load_study(str(path))
    (line,) = str(refused.value).splitlines()
    assert line.startswith("mine.yaml: not valid YAML: ")
    assert message in line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("description=a # b", "--set description: YAML reads '# b' as a comment"),
        ("description=# b", "--set description: YAML reads '# b' as a comment"),
        ("audit.contaminated_share=yes", "audit.contaminated_share: 'yes': "),
        ("trials.steps=1_000", "write 1000"),
        ("trials.steps=1,000", "write 1000"),
        ("trials.steps=1e3", "write 1000"),
        ("name=2026", "put it in quotes"),
        ("base={steps: 1, steps: 2}", "is not a YAML value"),
        ("runtime.trials.fused_loss=yes", "write true"),
        ("runtime.trials.fused_loss=off", "write false"),
    ],
)
def test_an_override_says_what_to_write(override: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        load_study("laptop", [override])
    (line,) = str(refused.value).splitlines()
    assert message in line


def test_an_override_is_taken_whole() -> None:
    study, _ = load_study("laptop", ["description=a#b", "base.optimizer.learning_rate=1e-4"])
    assert study.description == "a#b"
    assert study.base.optimizer.learning_rate == 1e-4
    assert comment_in("'a # b'") == ""
