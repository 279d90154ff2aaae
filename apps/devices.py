"""The device that a user names."""

from __future__ import annotations

import torch

from tinylesions.datasets import InputError

__all__ = ["device_override"]


def device_override(device: str | None) -> dict[str, str]:
    """Return the override of a config's ``device``; none where the config is to choose.

    Args:
        device: its name, e.g. ``"cpu"`` or ``"cuda:1"``.

    Raises:
        InputError: it cannot be used here.

    Example:
        >>> device_override("cpu"), device_override(None)
        ({'device': "$torch.device('cpu')"}, {})
    """
    if device is None:
        return {}
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises all three
        mps = ["mps"] if torch.backends.mps.is_available() else []
        usable = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *mps]
        raise InputError(f"the device {device!r} cannot be used here: choose one of {', '.join(usable)}.") from error
    return {"device": f"$torch.device({device!r})"}
