"""Masked attention over duals, every head of every row by itself.

Letters: S = q k^T + bias the scores, P their softmax over keys, o = P v, g the slope in o; <a> the mean of a under P,
key by key; a dot the derivative along a direction. With e = S. - <S.> and c = g v^T - <g v^T>,

    P. = P e        slope in S: P c, and along a direction P (a - <a>) with a = (g v^T). + e c
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from samrec.models.second_order.duals import Dual

VECTOR = 16  # keys from which on PyTorch's softmax works on whole vectors; with fewer it is many times slower


def attention(q: Dual, k: Dual, v: Dual, bias: Tensor) -> tuple[Dual, Callable[[Dual], tuple[Dual, Dual, Dual]]]:
    """(H R, W, E) from queries that are already scaled, keys and values, given the bias (R, W, W) of each row."""
    scores = torch.bmm(q.value, k.value.mT)
    scores.view(-1, *bias.shape).add_(bias)
    p = softmax_(scores)

    def centred_(x: Tensor) -> Tensor:
        return x.sub_((p * x).sum(-1, keepdim=True))

    moves = [
        centred_(torch.bmm(q_along, k.value.mT).baddbmm_(q.value, k_along.mT))
        for q_along, k_along in zip(q.along, k.along, strict=True)
    ]
    p_along = [p * move for move in moves]
    o = torch.bmm(p, v.value)
    o_along = [torch.bmm(one, v.value).baddbmm_(p, tangent) for one, tangent in zip(p_along, v.along, strict=True)]

    def pull(g: Dual) -> tuple[Dual, Dual, Dual]:
        pulled = centred_(torch.bmm(g.value, v.value.mT))
        s = p * pulled
        changes = []
        for column, tangent in enumerate(g.along):
            a = torch.bmm(tangent, v.value.mT).baddbmm_(g.value, v.along[column].mT)
            changes.append(centred_(a.addcmul_(moves[column], pulled)).mul_(p))
        of_q, of_k, of_v = [], [], []
        for column, (tangent, change) in enumerate(zip(g.along, changes, strict=True)):
            of_q.append(torch.bmm(change, k.value).baddbmm_(s, k.along[column]))
            of_k.append(torch.bmm(change.mT, q.value).baddbmm_(s.mT, q.along[column]))
            of_v.append(torch.bmm(p.mT, tangent).baddbmm_(p_along[column].mT, g.value))
        return (
            Dual(torch.bmm(s, k.value), of_q),
            Dual(torch.bmm(s.mT, q.value), of_k),
            Dual(torch.bmm(p.mT, g.value), of_v),
        )

    return Dual(o, o_along), pull


def softmax_(scores: Tensor) -> Tensor:
    """Over the last axis; `scores` are overwritten."""
    if scores.shape[-1] >= VECTOR:
        return torch.softmax(scores, dim=-1, out=scores)
    scores.sub_(scores.amax(-1, keepdim=True)).mul_(math.log2(math.e)).exp2_()
    return scores.div_(scores.sum(-1, keepdim=True))
