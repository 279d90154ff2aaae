"""The arithmetic that a device is fastest with."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

__all__ = ["PRECISIONS", "autocast", "resolve_precision"]

PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Names of the precisions that an inferer may be given, beside ``"auto"``."""


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions on a device.

    Args:
        precision: ``"float32"``, ``"bf16"``, ``"fp16"``, or ``"auto"``: bfloat16 on a processor with AMX or
            AVX512-BF16 and on a GPU that has it, float16 on an older GPU, else float32.
        device: where the network runs.

    Raises:
        ValueError: no such precision.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision]
    if precision != "auto":
        raise ValueError(f"precision is one of {', '.join([*PRECISIONS, 'auto'])}, not {precision!r}.")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and has_bfloat16:
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Autocast to `dtype`; for float32 it turns off any that surrounds it."""
    reduced = dtype != torch.float32
    return torch.autocast(device.type, dtype=dtype if reduced else None, enabled=reduced)
