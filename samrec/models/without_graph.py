"""SASRec's scores where no derivative is asked for: what one point of a surface costs.

In float32 on the CPU oneDNN makes the linear layers, each with all that follows it entry by entry (bias, GELU,
residual) in the same pass, and attention reads queries, keys and values where that pass left them. On Beauty a loss
takes .6 of the time it does by the layers themselves. Everything else (another precision or device, a PyTorch without
oneDNN, weights under a transform such as vmap) is left to the layers.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad

from landscape.parameters import Params
from samrec.data.batches import PackedBatch, attention_bias
from samrec.models.encoder import LAYER_NORM_EPS, Block
from samrec.models.one_pass_linear import is_there, linear_added, linear_in_one_pass
from samrec.models.sasrec import SASRec


def can_score(model: SASRec, params: Params) -> bool:
    """Whether `scores_without_graph` computes what this model does with these weights, here and now."""
    if type(model) is not SASRec or torch.is_grad_enabled() or not is_there():
        return False
    return all(_is_plain(weight) for weight in params.values())


def scores_without_graph(
    model: SASRec, params: Params, batch: PackedBatch, candidates: Int[Tensor, "T C"] | None
) -> Float[Tensor, "T scores"]:
    """`SASRec.forward` with these weights, to rounding; only where `can_score`."""
    table = params["item_embedding.weight"]
    embedded = table.index_select(0, batch.items.view(-1))
    states = _states(model, params, embedded, batch).index_select(0, batch.slots)
    if candidates is None:
        return linear_in_one_pass(states, table[1 : model.item_count + 1], None)
    scored = table.index_select(0, candidates.reshape(-1)).view(*candidates.shape, model.size)
    return torch.bmm(scored, states[:, :, None]).squeeze(-1)


def _states(model: SASRec, params: Params, embedded: Tensor, batch: PackedBatch) -> Tensor:
    """Hidden states (R W, D) of the slots; `embedded` is overwritten."""
    rows, width = batch.items.shape
    x = embedded.add_(params["position_embedding.weight"].index_select(0, batch.positions.view(-1)))
    x = _normed(x, params, "input_norm")
    bias = attention_bias(batch.visible, x.dtype)
    for number, layer in enumerate(model.blocks):
        own = f"blocks.{number}"
        weight, shift = (
            torch.cat([params[f"{own}.{name}.{kind}"] for name in ("query", "key", "value")])
            for kind in ("weight", "bias")
        )
        split = linear_in_one_pass(x, weight, shift).view(rows, width, 3, cast(Block, layer).heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(x.shape)
        x = _normed(_added(attended, x, params, f"{own}.output"), params, f"{own}.attention_norm")
        weight, shift = params[f"{own}.expand.weight"], params[f"{own}.expand.bias"]
        inner = linear_in_one_pass(x, weight, shift, "gelu")
        x = _normed(_added(inner, x, params, f"{own}.contract"), params, f"{own}.feed_forward_norm")
    return x


def _added(x: Tensor, to: Tensor, params: Params, name: str) -> Tensor:
    """The linear layer of x, and the residual."""
    return linear_added(x, to, params[f"{name}.weight"], params[f"{name}.bias"])


def _normed(x: Tensor, params: Params, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], params[f"{name}.weight"], params[f"{name}.bias"], LAYER_NORM_EPS)


def _is_plain(weight: Tensor) -> bool:
    """In memory, in float32, on the CPU, and neither stacked by vmap nor with a tangent."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(weight)
    plain = not wrapped and weight.dtype == torch.float32 and weight.device.type == "cpu"
    return plain and forward_ad.unpack_dual(weight).tangent is None  # type: ignore[no-untyped-call]
