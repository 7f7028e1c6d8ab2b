"""A study as a graph of named steps.

A step's fingerprint is the hash of what the spec says of it and of the fingerprints upstream, so
changing one field moves exactly the steps that depend on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ccx_ray.orchestration.fingerprints import fingerprint


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node: a readable name, what decides its content, and what it is computed from."""

    name: str
    kind: str
    version: int
    """Raised by us when the code of this kind of step changes what it computes."""
    identity: Mapping[str, Any]
    upstream: tuple["Step", ...] = ()
    follows: tuple["Step", ...] = ()
    """Upstream whose partial output is enough to start on: an evaluation follows a training."""
    resumable: bool = False
    """Continues in its own folder after a crash instead of starting over."""

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(
            {
                "kind": self.kind,
                "version": self.version,
                "identity": self.identity,
                "upstream": {s.name: s.fingerprint for s in (*self.upstream, *self.follows)},
            }
        )

    @property
    def folder_name(self) -> str:
        return f"{self.name}-{self.fingerprint}"


class Graph:
    """Steps in an order in which each comes after everything that it needs."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps: dict[str, Step] = {}
        for step in steps:
            self._add(step)

    def _add(self, step: Step) -> None:
        known = self.steps.get(step.name)
        if known is not None:
            assert known.fingerprint == step.fingerprint, f"two steps are named {step.name}"
            return
        for needed in (*step.upstream, *step.follows):
            self._add(needed)
        self.steps[step.name] = step

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]

    def of_kind(self, kind: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps.values() if step.kind == kind)

    def needed_for(self, targets: Iterable[Step]) -> "Graph":
        """The part of the graph that the targets are computed from, targets included."""
        return Graph(targets)
