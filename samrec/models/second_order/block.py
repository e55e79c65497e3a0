"""A transformer block over duals: the same as `encoder.Block` without dropout."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from samrec.models.encoder import LAYER_NORM_EPS
from samrec.models.second_order.attention import attention
from samrec.models.second_order.duals import Dual, Pull, Weight, stacked, unstack
from samrec.models.second_order.gelu import gelu
from samrec.models.second_order.layer_norm import layer_norm
from samrec.models.second_order.linear import linear


@dataclass(frozen=True, slots=True)
class Heads:
    """Between the states of slots (R W, 3 D) and heads (3, H R, W, E)."""

    rows: int
    width: int
    heads: int

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values: (H R, W, E) each."""
        parts = x.view(self.rows, self.width, -1, self.heads, x.shape[1] // 3 // self.heads)
        found = parts.permute(2, 3, 0, 1, 4).contiguous()
        return found.view(len(found), -1, self.width, found.shape[-1]).unbind(0)

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Back to (R W, parts D)."""
        laid = parts[0].new_empty(self.rows, self.width, len(parts), self.heads, parts[0].shape[-1])
        for place, part in enumerate(parts):
            laid[:, :, place] = part.view(self.heads, self.rows, self.width, -1).permute(1, 2, 0, 3)
        return laid.view(self.rows * self.width, -1)

    def apart(self, x: Tensor) -> Tensor:
        """One part, (R W, D), as heads (H R, W, E)."""
        found = x.view(self.rows, self.width, self.heads, -1).permute(2, 0, 1, 3).contiguous()
        return found.view(-1, self.width, found.shape[-1])


def block(x: Dual, bias: Tensor, weights: Mapping[str, Weight], heads: int) -> tuple[Dual, Pull]:
    """From and to (R W, D), given the bias (R, W, W) and the weights by their names in the block."""
    scale = math.sqrt(heads / x.value.shape[1])
    layout = Heads(len(bias), bias.shape[-1], heads)
    kinds = [[weights[f"{name}.{kind}"] for name in ("query", "key", "value")] for kind in ("weight", "bias")]
    weight, shift = (stacked(parts, scale) for parts in kinds)

    inputs, pull_inputs = linear(x, weight, shift)
    values = layout.split(inputs.value)
    along = [layout.split(one) for one in inputs.along]
    q, k, v = (Dual(values[part], [one[part] for one in along]) for part in range(3))
    attended, pull_attended = attention(q, k, v, bias)
    attended = attended.map(lambda one: layout.joined([one]))
    mixed, pull_mixed = linear(attended, weights["output.weight"], weights["output.bias"], x)
    y, pull_y = layer_norm(mixed, weights["attention_norm.weight"], weights["attention_norm.bias"], LAYER_NORM_EPS)
    inner, pull_inner = linear(y, weights["expand.weight"], weights["expand.bias"])
    bent, pull_bent = gelu(inner)
    fed, pull_fed = linear(bent, weights["contract.weight"], weights["contract.bias"], y)
    z, pull_z = layer_norm(fed, weights["feed_forward_norm.weight"], weights["feed_forward_norm.bias"], LAYER_NORM_EPS)

    def pull(g: Dual) -> Dual:
        g = pull_z(g)
        g = _sum(pull_inner(pull_bent(pull_fed(g))), g)
        g = pull_y(g)
        parts = pull_attended(pull_mixed(g).map(layout.apart))
        of_inputs = Dual(
            layout.joined([part.value for part in parts]),
            [layout.joined([part.along[column] for part in parts]) for column in range(len(g.along))],
        )
        back = _sum(pull_inputs(of_inputs), g)
        for whole, several in zip((weight, shift), kinds, strict=True):
            unstack(whole, several, scale)
        return back

    return z, pull


def _sum(one: Dual, other: Dual) -> Dual:
    return Dual(one.value.add_(other.value), [a.add_(b) for a, b in zip(one.along, other.along, strict=True)])
