"""oneDNN's linear layer on the CPU: product, bias and what follows entry by entry in one pass over the result.

Float32 without a graph. On processors where PyTorch's own product does not use all of their vector units it is up to
twice as fast, most of all with a weight laid out for it beforehand. Not every PyTorch is built with it.
"""

from typing import Any

import torch
from torch import Tensor

_LINEAR: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_LAID_OUT: Any = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)


def is_there() -> bool:
    """Whether this PyTorch has it, and it is not switched off."""
    return _LINEAR is not None and _LAID_OUT is not None and bool(torch.backends.mkldnn.enabled)


def laid_out(weight: Tensor, rows: int) -> Tensor:
    """The weight as the product with so many rows reads it, a copy: for `linear_in_one_pass` alone."""
    found: Tensor = _LAID_OUT(weight, rows)
    return found


def linear_in_one_pass(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """The layer, and after it nothing or "gelu" (exact, by the error function)."""
    found: Tensor = _LINEAR(x, weight, bias, then, [], "none")
    return found


def linear_added(x: Tensor, to: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The linear layer of x, and the residual."""
    found: Tensor = _LINEAR.binary(x, to, weight, bias, "add")
    return found
