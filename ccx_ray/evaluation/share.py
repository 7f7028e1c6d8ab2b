"""Keeps an evaluator within the part of its node that it was given.

Ray counts resources but holds nobody to them: an evaluator of half a CPU that computes in one
thread takes a whole core from the trainings beside it.

Invariant: while others compute, no thread of the evaluator weighs more on a core than the
evaluator's CPUs divided by its threads; while they do not, it may have all of it.
"""

import math
import os

LOWEST = 19
WEIGHT_RATIO = 1.25
"""Of the shares of a core that Linux gives to two threads that differ by 1 in niceness."""


def niceness(cpus: float, threads: int) -> int:
    """How nice ``threads`` must be to take no more than ``cpus`` beside threads that are not."""
    if cpus >= threads:
        return 0
    return min(LOWEST, math.ceil(math.log(threads / cpus) / math.log(WEIGHT_RATIO)))


def keep_within_share(*, cpus: float, gpus: float, threads: int) -> None:
    """Bind this process: its threads, their niceness, and on a shared GPU its memory.

    Called once, before anything starts a thread, because a thread inherits niceness when it starts.
    A GPU's time cannot be divided so; its memory can, and then it is the evaluator that runs out of
    it and not the training.
    """
    os.nice(niceness(cpus, threads))
    import torch

    torch.set_num_threads(threads)
    if 0 < gpus < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)
