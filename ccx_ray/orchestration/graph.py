"""A graph of named steps: what each is computed from, what decides its content, what it does.

A step's fingerprint is the hash of its identity and of the fingerprints of what it needs, so
changing one field moves exactly the steps that depend on it. A rerun is part of the identity too,
so that what was computed before stays beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ccx_ray.orchestration.fingerprints import fingerprint

Needs = Mapping[str, "Step | Mapping[str, Step]"]
"""Role -> the step that fills it, or several of them by a name of their own."""

RERUN = "rerun"
"""In the identity of a step that was asked for anew: how often."""
_reruns: ContextVar[Mapping[str, int] | None] = ContextVar("reruns", default=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One node of the graph."""

    name: str
    """Readable and unique in its graph; its folder begins with it."""
    kind: str
    version: int
    """Raised when the code of this kind of step changes what it computes."""
    identity: Mapping[str, Any]
    """What the spec says of it."""
    run: Callable[[Any], Mapping[str, Any]] = field(repr=False)
    """Computes the step in its folder, given the runner's ``StepWork``; returns the counts of the
    completion marker. Not part of the fingerprint."""
    needs: Needs = field(default_factory=dict)
    follows: "Step | None" = None
    """A step whose partial output is enough to start on: an evaluation follows a training."""
    resumable: bool = False
    """Continues in its own folder after a crash instead of starting over."""
    pool: str = ""
    """Steps of one pool share a limit on how many run at once; none without a pool."""
    background: bool = False
    """Nothing trained or scored waits for it: its tasks ask for no CPU and give way to others."""

    def __post_init__(self) -> None:
        if count := (_reruns.get() or {}).get(self.name, 0):
            object.__setattr__(self, "identity", {**self.identity, RERUN: count})

    @cached_property
    def fingerprint(self) -> str:
        return self._fingerprint(self.identity)

    @cached_property
    def replaced(self) -> str | None:
        """The fingerprint of the step that this one is a rerun of; None for no rerun."""
        identity = dict(self.identity)
        count = identity.pop(RERUN, 0)
        if not count:
            return None
        return self._fingerprint({**identity, RERUN: count - 1} if count > 1 else identity)

    def _fingerprint(self, identity: Mapping[str, Any]) -> str:
        return fingerprint(
            {
                "kind": self.kind,
                "version": self.version,
                "identity": identity,
                "needs": {
                    role: needed.fingerprint
                    if isinstance(needed, Step)
                    else {name: step.fingerprint for name, step in needed.items()}
                    for role, needed in self.needs.items()
                },
                "follows": self.follows and self.follows.fingerprint,
            }
        )

    @property
    def folder_name(self) -> str:
        return f"{self.name}-{self.fingerprint}"

    @property
    def upstream(self) -> tuple["Step", ...]:
        """The steps that must be finished before this one starts."""
        return tuple(
            step
            for needed in self.needs.values()
            for step in ([needed] if isinstance(needed, Step) else needed.values())
        )

    @property
    def before(self) -> tuple["Step", ...]:
        """The steps that must be finished, or running, before this one starts."""
        return (*self.upstream, *([self.follows] if self.follows else []))


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
        for needed in step.before:
            self._add(needed)
        self.steps[step.name] = step

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]

    def of_kind(self, kind: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps.values() if step.kind == kind)

    def needed_for(self, targets: Iterable[Step]) -> "Graph":
        """The part of the graph that the targets are computed from, targets included."""
        return Graph(targets)


@contextmanager
def counted_reruns(reruns: Mapping[str, int]) -> Iterator[None]:
    """Give the steps that are made in the body the reruns that were asked for, by name.

    Around the making of a whole graph and not an argument of every step: any step may be asked for
    anew, and where some stage forgot the argument it would quietly be reused.
    """
    token = _reruns.set(reruns)
    try:
        yield
    finally:
        _reruns.reset(token)
