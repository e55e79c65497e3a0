"""Causal self-attention inside packed rows.

Suffixes: R rows, W slots a row, H heads, E entries a head. Two kernels compute the same thing: the plain one can be
differentiated any number of times; PyTorch's fused one is for passes without gradients (it has no double backward).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from samrec.models.dropout import Dropout


def attend(
    q_RHWE: Tensor, k_RHWE: Tensor, v_RHWE: Tensor, bias_R1WW: Tensor, *, dropout: Dropout | None, fused: bool
) -> Tensor:
    """softmax(q k^T / sqrt(E) + bias) v, with dropout on the probabilities; shape (R, H, W, E).

    Args:
        q_RHWE: queries.
        k_RHWE: keys.
        v_RHWE: values.
        bias_R1WW: 0 where a query may look, minus infinity elsewhere.
        dropout: None outside training.
        fused: use the kernel without second derivatives; ignored with dropout, which it does not take.
    """
    if fused and dropout is None:
        return F.scaled_dot_product_attention(q_RHWE, k_RHWE, v_RHWE, attn_mask=bias_R1WW)
    scale = 1 / math.sqrt(q_RHWE.shape[-1])
    weights_RHWW = torch.softmax((q_RHWE * scale) @ k_RHWE.transpose(-1, -2) + bias_R1WW, dim=-1)
    if dropout is not None:
        weights_RHWW = dropout(weights_RHWW)
    return weights_RHWW @ v_RHWE
