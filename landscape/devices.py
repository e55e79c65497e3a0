"""`--device auto`: CUDA where there is one, else the CPU."""

import torch

from landscape.errors import InvalidArgument


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; InvalidArgument if it does not exist here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgument(f"expected a device such as auto, cpu or cuda, got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"expected a device that exists here (cpu), got {name!r}")
    return device
