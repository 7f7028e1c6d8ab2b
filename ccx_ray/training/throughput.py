"""How much of a device's arithmetic a training uses: model FLOPs utilization (MFU)."""

# Dense tensor-core peaks in FLOP/s from NVIDIA's data sheets (SXM parts, without sparsity), by a
# part of the name that CUDA gives the device. An unknown device has no MFU rather than a wrong one.
BF16_PEAKS = {
    "B200": 2250e12,
    "H200": 989.5e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "L40S": 362e12,
}


def peak_flops(device_name: str, precision: str) -> float | None:
    """Peak FLOP/s of a device in the training's precision, None where it is not known."""
    if precision != "bf16":
        return None
    return next((peak for name, peak in BF16_PEAKS.items() if name in device_name), None)


def model_flops_utilization(
    *, tokens_per_second: float, flops_per_token: float, peak: float, devices: int
) -> float:
    """Share of the devices' peak that the model's own arithmetic reaches."""
    return tokens_per_second * flops_per_token / (peak * devices)
