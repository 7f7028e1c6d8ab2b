"""How long a graph of steps will still take, from how long steps like them took.

The steps that are left are laid out in time as the runner would start them: each when what it needs
is there, of a pool as many at once as have run at once so far. They share a machine's cores, so on
a small one it is a lower bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StepLeft:
    """A step that is not finished."""

    name: str
    seconds: float
    """That it will still take; of one that follows another, after the end of that one."""
    running: bool
    pool: str = ""
    needs: Sequence[str] = ()
    follows: str | None = None


def time_left(steps: Sequence[StepLeft], at_once: Mapping[str, int]) -> float:
    """Seconds until the last step is finished.

    Args:
        steps: all that are left, each after those that it needs; other names are of finished ones.
        at_once: pool -> how many of its steps run at once; one where it is not told.
    """
    left = {step.name: step for step in steps}
    pools = {step.name: step.pool for step in steps}
    ends: dict[str, float] = {}
    clock = 0.0
    while left or ends:
        for step in sorted(left.values(), key=lambda step: not step.running):
            in_pool = sum(pools[name] == step.pool for name in ends)
            has_room = not step.pool or in_pool < at_once.get(step.pool, 1)
            begun = step.follows is None or step.follows not in left
            ready = begun and not any(name in left or name in ends for name in step.needs)
            if step.running or (ready and has_room):
                del left[step.name]
                after = ends.get(step.follows or "", clock)
                ends[step.name] = after + step.seconds
        if not ends:  # what they need is neither finished nor left
            break
        first = min(ends, key=lambda name: ends[name])
        clock = ends.pop(first)
    return clock
