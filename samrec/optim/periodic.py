"""LookSAM: what a climb found, used again by the steps that do not climb.

Letters: g the gradient at the weights, g' the one at the worst point nearby, k the period.

    a step that climbs     descends with g' and keeps g_v = g' - (g'.g / ||g||^2) g, what g does not show of g'
    the k - 1 steps after  descend with g + alpha (||g|| / ||g_v||) g_v

Norms and products are over all parameters that have a gradient. Costs one gradient and one more in k steps, and the
memory of one gradient. Source: Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022,
arXiv 2203.02714; alpha .7 and k 5 to 10 are theirs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from samrec.errors import ConfigError
from samrec.optim.gradients import Gradients, inner_product, norm_of


class Look:
    """g_v, between the climb that found it and the next."""

    def __init__(self, alpha: float = 0.7) -> None:
        if not alpha >= 0:
            raise ConfigError(f"expected LookSAM's alpha >= 0, got {alpha}")
        self.alpha = alpha
        self.direction: Gradients = {}  # g_v by parameter name; empty: the steps between take plain g

    def keep(self, flat: Mapping[str, Tensor], risen: Mapping[str, Tensor]) -> None:
        """Find g_v from g (`flat`) and g' (`risen`); neither is changed.

        A g_v that is no more than the rounding error of g' counts as zero: where rho is 0, g' is g and there is none.
        """
        square = inner_product(flat, flat)
        part = inner_product(flat, risen) / square if square else 0.0
        found = {name: risen[name].sub(gradient, alpha=part) for name, gradient in flat.items()}
        precision = max((torch.finfo(tensor.dtype).eps for tensor in found.values()), default=0.0)
        settled = norm_of(list(found.values())) > precision * norm_of(list(risen.values()))
        self.direction = found if settled else {}

    def bend(self, gradients: Mapping[str, Tensor]) -> None:
        """Add alpha (||g|| / ||g_v||) g_v to g in place; a plain g where there is no g_v."""
        if not self.direction:
            return
        factor = self.alpha * norm_of(list(gradients.values())) / norm_of(list(self.direction.values()))
        both = [name for name in gradients if name in self.direction]
        torch._foreach_add_([gradients[name] for name in both], [self.direction[name] for name in both], alpha=factor)
