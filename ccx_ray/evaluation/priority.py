"""Which checkpoint is scored first when several wait: the outline of a curve, then its detail.

Trials may publish checkpoints faster than the evaluators score them. In order of arrival every
curve would grow from the left, and its end, which the study is about, would come last.

Invariant: the steps of one priority and those of all before it divide the run as evenly as whole
steps allow.
"""

from collections.abc import Sequence


def coarse_first(steps: Sequence[int]) -> dict[int, int]:
    """Step -> priority, lower first: 0 the last one, 1 the middle one, 2 the quarters, and so on.

    It goes by place in ``steps``, not by step: where a study sets its checkpoints closer, because
    the curve bends there, it is filled in evenly too.

    Args:
        steps: of one run's checkpoints, rising.
    """
    if not steps:
        return {}
    priorities = {steps[-1]: 0}
    stretches, priority = [(0, len(steps))], 0
    while stretches:
        priority += 1
        halves: list[tuple[int, int]] = []
        for low, high in stretches:
            middle = (low + high + 1) // 2
            if middle < high:
                priorities[steps[middle - 1]] = priority
                halves += [(low, middle), (middle, high)]
        stretches = halves
    return priorities
