"""What is private in other packages and used here is there, as the tested version has it."""

from importlib.metadata import version

import pytest
import ray.train.torch
import torch
from packaging.requirements import Requirement

from ccx_ray.errors import UserError
from ccx_ray.orchestration.private_names import RAY_NAMES, RAY_TESTED, check_private_names
from ccx_ray.training.sharded_state import (
    DEEPSPEED_NAMES,
    DEEPSPEED_TESTED,
    import_deepspeed,
)
from tests.ray_nodes import PROJECT
from tests.training_runs import join_process_group


def test_the_installed_ray_has_every_private_name() -> None:
    check_private_names("ray", tested=RAY_TESTED, names=RAY_NAMES)


def test_the_installed_deepspeed_has_every_private_name() -> None:
    join_process_group()
    import_deepspeed(torch.device("cpu"))
    check_private_names("deepspeed", tested=DEEPSPEED_TESTED, names=DEEPSPEED_NAMES)


@pytest.mark.parametrize(
    ("package", "tested"), [("ray", RAY_TESTED), ("deepspeed", DEEPSPEED_TESTED)]
)
def test_no_untested_minor_version_is_allowed(package: str, tested: str) -> None:
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = next(
        requirement.specifier
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == package
    )
    major, minor, _ = map(int, tested.split("."))
    assert tested in allowed
    assert version(package) in allowed
    assert f"{major}.{minor + 1}.0" not in allowed
    assert f"{major + 1}.0.0" not in allowed


def test_a_name_that_has_moved_is_named_with_both_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("ray.train.v2._internal.execution.scaling_policy.ResizeDecision")
    with pytest.raises(UserError) as raised:
        check_private_names("ray", tested="2.1.0", names=RAY_NAMES)
    assert str(raised.value) == (
        f"ray {ray.__version__}: the private ray.train.v2._internal.execution.scaling_policy:"
        "ResizeDecision(num_workers, resources_per_worker) no longer exists: "
        "there is no 'ResizeDecision'; it is used for each training's fair share of the cluster; "
        "install the tested version: pip install 'ray==2.1.0'"
    )


def test_other_parameters_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def replacement(self: object, error: Exception, attempt: int) -> None: ...

    monkeypatch.setattr(
        "ray.train.v2._internal.execution.failure_handling.FailurePolicy.make_decision",
        replacement,
    )
    with pytest.raises(UserError, match=r"make_decision.* now takes \(self, error, attempt\);"):
        check_private_names("ray", tested=RAY_TESTED, names=RAY_NAMES)


def test_a_module_that_has_moved_is_named() -> None:
    with pytest.raises(UserError, match=r"ray\.nowhere:Name cannot be imported"):
        check_private_names("ray", tested=RAY_TESTED, names={"ray.nowhere:Name": "a test"})
