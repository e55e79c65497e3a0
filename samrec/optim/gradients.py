"""Gradients by parameter name: taken from the parameters, added up, measured, put back.

Only parameters that have a gradient take part. Norms are those of all tensors together.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from samrec.errors import Diverged

Gradients = dict[str, Tensor]
PIECE = 1 << 15  # entries


def gradients_of(named: Mapping[str, nn.Parameter]) -> Gradients:
    """The gradients as they lie in the parameters, not copied."""
    return {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None}


def put_gradients(named: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> None:
    """Make these the parameters' gradients; a parameter that is not named has none afterwards."""
    for name, parameter in named.items():
        parameter.grad = gradients.get(name)


def added(total: Mapping[str, Tensor], more: Mapping[str, Tensor]) -> Gradients:
    """The sum of two, neither of them changed; what only one of them has is taken as it is."""
    both = [name for name in total if name in more]
    sums = torch._foreach_add([total[name] for name in both], [more[name] for name in both]) if both else ()
    return {**total, **more, **dict(zip(both, sums, strict=True))}


def norms_of(tensors: Sequence[Tensor]) -> Tensor:
    """Each tensor's Euclidean norm, float64 where a single-precision square overflows; a zero where there are none."""
    if not tensors:
        return torch.zeros(1)
    norms = torch.stack(torch._foreach_norm(list(tensors)))
    if torch.isfinite(norms.norm()):
        return norms
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors])


def norm_of(tensors: Sequence[Tensor]) -> float:
    """The norm of all of them as one vector."""
    return float(torch.linalg.vector_norm(norms_of(tensors)))


def inner_product(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """a.b over the names of `a`, in float64. The same bits for equal arguments.

    In pieces whose copies in float64 stay in the cache: those of whole tables took nine times as long.
    """
    products = [
        torch.dot(ours.double(), theirs.double())
        for name in a
        for ours, theirs in zip(_pieces(a[name]), _pieces(b[name]), strict=True)
    ]
    return float(torch.stack(products).sum()) if products else 0.0


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    return torch.split(tensor.reshape(-1), PIECE)


def check_finite(parameters: Sequence[nn.Parameter]) -> None:
    """Raise Diverged if any gradient holds a NaN or an infinity."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not torch.isfinite(norms_of(gradients).norm()):
        raise Diverged("expected a finite gradient, got one that is not")
