"""Load of the machine and of the GPU that a worker trains on, under MLflow's names for them.

MLflow's page shows what is named ``system/...`` under "System metrics".
"""

import time
from contextlib import suppress

import psutil
import pynvml
import torch

SECONDS = 10.0
"""Between two readings."""


class SystemMetrics:
    """Readings of psutil and, for a GPU, of NVML."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._read = -SECONDS
        psutil.cpu_percent()  # the first call has nothing to compare with

    def read(self) -> dict[str, float]:
        """Name -> value; nothing within ten seconds of the last reading."""
        if time.monotonic() - self._read < SECONDS:
            return {}
        self._read = time.monotonic()
        memory = psutil.virtual_memory()
        found = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/system_memory_usage_percentage": memory.percent,
        }
        if self._gpu is not None:
            # Without NVML's library torch raises RuntimeError; NVML itself refuses readings that
            # a virtual machine does not give.
            with suppress(RuntimeError, pynvml.NVMLError):
                found["system/gpu_0_utilization_percentage"] = torch.cuda.utilization(self._gpu)
                used = torch.cuda.device_memory_used(self._gpu)
                found["system/gpu_0_memory_usage_megabytes"] = used / 1e6
                found["system/gpu_0_power_usage_watts"] = torch.cuda.power_draw(self._gpu) / 1e3
        return found
