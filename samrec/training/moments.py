"""What an optimizer keeps for each parameter, given back to it from a state on disk after a look at every number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from samrec.errors import CheckpointError

SCALARS = ("step",)  # the only one that is a number, not a tensor of the parameter's shape
NOT_NEGATIVE = ("step", "exp_avg_sq")  # a count, and a mean of squares whose root is taken


def load_moments(
    optimizer: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    names: Sequence[str],
    moments: Mapping[str, Tensor],
    *,
    called: str,
    path: Path,
) -> None:
    """Give the optimizer its moments back.

    Args:
        optimizer: whose state is filled.
        named: its parameters by name.
        names: of the moments of a parameter, such as "exp_avg".
        moments: by "parameter/moment".
        called: the optimizer's name, for errors.
        path: the file they come from, for errors.

    Raises:
        CheckpointError: one is missing, of another shape or type, not finite, or negative where it cannot be.
    """
    for name, parameter in named.items():
        for key in names:
            what = f"{called}'s {key} of {name} in {path}"
            shape = torch.Size() if key in SCALARS else parameter.shape
            moment = moments.get(f"{name}/{key}")
            if moment is None:
                raise CheckpointError(f"expected {what}, got none")
            if moment.shape != shape or not moment.is_floating_point():
                raise CheckpointError(
                    f"expected {what} as numbers of shape {tuple(shape)}, got {moment.dtype} of {tuple(moment.shape)}"
                )
            if not torch.isfinite(moment).all():
                raise CheckpointError(f"expected finite numbers as {what}, got NaN or infinity")
            if key in NOT_NEGATIVE and (moment < 0).any():
                raise CheckpointError(f"expected numbers of 0 or more as {what}, got {moment.min().item():g}")
            kind = moment.dtype if key in SCALARS else parameter.dtype
            optimizer.state[parameter][key] = moment.to(parameter.device, kind)
