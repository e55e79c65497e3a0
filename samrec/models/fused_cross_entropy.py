"""Cross-entropy over every item in pieces: exact, and its memory does not grow with tokens times items.

Letters: T tokens, D entries of a hidden state, N items scored; H the states, W the items' rows, P the probabilities, Y
one-hot targets, C tokens a chunk.

    loss = sum over t of logsumexp(W h_t) - w_target . h_t        dL/dH = (P - Y) W        dL/dW = (P - Y)^T H

Both gradients are written out while the loss is computed, C x N scores at a time, few enough to stay in the cache:
three matrix products, as many as the plain loss takes, and Y is a look-up and a scatter. The softmax is PyTorch's own,
in place, and gives the logsumexp as well: the greatest score minus the log of its probability, which is at least 1 / N.

On Beauty (12,101 items, 1,450 tokens a batch, one thread of an AMD EPYC) a batch takes .055 s, by PyTorch's own
products .089 s; scores that are kept and differentiated take .22 to .38 s.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

SCORES = 3 << 19  # a chunk: 6 MiB in float32. On Beauty 64 to 256 tokens a chunk were equally fast, 32 a quarter slower
FEWEST_TOKENS = 16  # a chunk, however many items there are: fewer make the products slow


def fused_cross_entropy(
    states: Float[Tensor, "T D"],
    table: Float[Tensor, "rows D"],
    targets: Int[Tensor, " T"],
    *,
    first: int = 0,
    last: int | None = None,
    tokens: int | None = None,
) -> Float[Tensor, ""]:
    """The summed cross-entropy of states @ table[first : last + 1].T, differentiable once in states and table.

    Memory: one chunk of scores, and of the gradients' own sizes, T x D and that of the table.

    Args:
        states: hidden states.
        table: the rows scored against, and others around them.
        targets: rows of `table` from `first` to `last`.
        first: the first row that is scored.
        last: the last one; by default that of the table.
        tokens: C; by default as many as keep a chunk's scores in the cache. The result depends on it by rounding only.

    Raises:
        RuntimeError: in a backward pass that is to be differentiated again (`create_graph=True`), in forward-mode
            differentiation, and under `torch.func` transforms. `losses.cross_entropy` of all scores takes all of them.
    """
    scored = slice(first, len(table) if last is None else last + 1)
    size = tokens or max(FEWEST_TOKENS, SCORES // len(table))
    wanted = torch.is_grad_enabled() and (states.requires_grad or table.requires_grad)
    loss: Tensor = _FusedCrossEntropy.apply(states, table, targets, scored, size, wanted)  # type: ignore[no-untyped-call]
    return loss


class _FusedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, targets: Tensor, scored: slice, size: int, wanted: bool
    ) -> Tensor:
        rows_ND = table[scored].contiguous()
        rows_DN = rows_ND.T.contiguous()
        losses = states.new_empty(len(states))
        of_states = torch.empty_like(states) if wanted else None
        of_rows_DN = torch.zeros_like(rows_DN) if wanted else None
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            h, target = states[part], targets[part]
            p = _product(h, rows_ND)  # scores, then their probabilities
            top, at_target = p.amax(dim=1), p.gather(1, (target - scored.start)[:, None]).squeeze(1)
            torch.softmax(p, dim=1, out=p)
            losses[part] = top - p.amax(dim=1).log() - at_target
            if of_states is not None and of_rows_DN is not None:
                of_states[part] = _product(p, rows_DN).sub_(table.index_select(0, target))
                of_rows_DN += _product(h.T.contiguous(), p.T)
        if of_states is not None and of_rows_DN is not None:
            of_table = torch.zeros_like(table)
            of_table[scored] = of_rows_DN.T
            ctx.save_for_backward(of_states, of_table.index_add_(0, targets, states, alpha=-1))
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "expected one derivative of the fused cross-entropy, got a backward pass with create_graph=True: its "
                "gradient is fused by hand and has no second derivative; take losses.cross_entropy of all scores"
            )
        of_states, of_table = ctx.saved_tensors
        return of_states * slopes[0], of_table * slopes[0], None, None, None, None


def _product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y.T; in float32 on the CPU by oneDNN, where this PyTorch has it.

    PyTorch's own product there is MKL's, which on AMD uses half of a core's vector units: 20 ms against 8.8 ms for the
    scores of 1,408 tokens of Beauty.
    """
    if x.dtype == torch.float32 and x.device.type == "cpu" and torch.backends.mkldnn.enabled:
        of_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
        if of_onednn is not None:
            product: Tensor = of_onednn(x, y, None, "none", [], "")
            return product
    return x @ y.T
