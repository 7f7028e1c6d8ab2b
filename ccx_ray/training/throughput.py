"""How much of a device's arithmetic a training uses: model FLOPs utilization (MFU).

Plain arithmetic without imports, because the GPU benchmark runs it on bare machines.
"""

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


def flops_per_token(
    *, parameters: int, attention_layers: int, attention_width: int, sequence_length: int
) -> float:
    """FLOPs of the forward and the backward pass over one token: 6 N + 12 L d T.

    The convention of PaLM (arXiv 2204.02311, appendix B): N counts the head's matrix, and the
    input embedding only where it is the same matrix; the attention's products, 12 d T in each
    layer that attends, are not halved for causality; recomputed activations are no arithmetic of
    the model. What an architecture computes beyond its weight matrices and attention, such as a
    state-space scan, does not count: without attention this is 6 N.

    Args:
        parameters: N.
        attention_layers: L.
        attention_width: d, heads x dimensions a head.
        sequence_length: T.
    """
    return 6.0 * parameters + 12.0 * attention_layers * attention_width * sequence_length


def model_flops_utilization(
    *, tokens_per_second: float, flops_per_token: float, peak: float, devices: int
) -> float:
    """Share of the devices' peak that the model's own arithmetic reaches."""
    return tokens_per_second * flops_per_token / (peak * devices)
