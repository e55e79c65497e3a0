"""From hidden states to scores and the loss over duals, and back at once: what is the last to be computed is the first
to be pulled.

Letters: h hidden states (T, D), e the items' rows, s = h e scores, g their slopes, a dot the derivative along a
direction.

    s. = h. e + h e.        slope in h: sum g e, sum g. e + g e.        slope in e: g h, g. h + g h.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from samrec.models.fused_cross_entropy import FEWEST_TOKENS, SCORES
from samrec.models.losses import Loss
from samrec.models.second_order.duals import Dual
from samrec.models.second_order.linear import affine, inner
from samrec.models.second_order.score_slopes import slope_of


@dataclass(frozen=True, slots=True)
class Read:
    """The summed loss, and slopes of it: the gradient's changes, or the gradient where there are no directions."""

    loss: Tensor
    of_hidden: Dual
    of_rows: list[Tensor]  # one a direction: of each row scored, (T C, D); none where they went elsewhere


def candidates(hidden: Dual, rows: Dual, loss: Loss, targets: Tensor, drawable: Tensor | None) -> Read:
    """The loss of scoring `rows` (T, C, D) at states (T, D)."""
    h, e = hidden.value, rows.value
    scores = _scored(e, h)
    g, curved = slope_of(loss, scores, drawable)
    changes = []
    for h_along, e_along in zip(hidden.along, rows.along, strict=True):
        changes.append(curved(_scored(e, h_along) + _scored(e_along, h)))
    of_hidden = Dual(
        _weighed(g, e),
        [_weighed(change, e).add_(_weighed(g, along)) for change, along in zip(changes, rows.along, strict=True)],
    )
    if changes:
        of_rows = [
            (change[:, :, None] * h[:, None]).addcmul_(g[:, :, None], along[:, None])
            for change, along in zip(changes, hidden.along, strict=True)
        ]
    else:
        of_rows = [g[:, :, None] * h[:, None]]
    value = loss.at_tokens(scores, targets, drawable).double().sum()
    return Read(value, of_hidden, [one.view(-1, h.shape[1]) for one in of_rows])


def all_items(hidden: Dual, rows: Dual, targets: Tensor, of_rows: list[Tensor], *, tokens: int | None = None) -> Read:
    """Cross-entropy over all `rows` (n, D), the target's place among them given (T,); few tokens' scores at a time.

    Slopes in the rows are added to `of_rows`, (n, D) a direction; none are made if it is empty.
    """
    e = rows.value
    size = tokens or max(FEWEST_TOKENS, SCORES // len(e))
    value = torch.zeros((), dtype=torch.float64, device=e.device)
    of_hidden = Dual(torch.empty_like(hidden.value), [torch.empty_like(hidden.value) for _ in hidden.along])
    transposed = e.T.contiguous()
    for start in range(0, len(targets), size):
        part = slice(start, start + size)
        h, target = hidden.value[part], targets[part, None]
        scores = affine(h, e)
        value += (torch.logsumexp(scores, 1) - scores.gather(1, target).squeeze(1)).double().sum()
        p = torch.softmax(scores, dim=1, out=scores)
        g = p.scatter_add(1, target, p.new_full((), -1).expand_as(target))
        of_hidden.value[part] = affine(g, transposed)
        if of_rows and not hidden.along:
            of_rows[0] += inner(g, h)
        for column, (h_along, e_along) in enumerate(zip(hidden.along, rows.along, strict=True)):
            change = affine(h_along[part], e, None, affine(h, e_along))
            change.sub_(torch.linalg.vecdot(p, change)[:, None]).mul_(p)
            of_hidden.along[column][part] = affine(change, transposed, None, affine(g, e_along.T))
            if of_rows:
                of_rows[column] += inner(change, h, inner(g, h_along[part]))
    return Read(value, of_hidden, [])


def _scored(rows: Tensor, states: Tensor) -> Tensor:
    """The product of each state with its own rows: (T, C)."""
    if rows.shape[1] > 2:
        return torch.bmm(rows, states[:, :, None]).squeeze(-1)
    return (rows * states[:, None]).sum(-1)


def _weighed(slopes: Tensor, rows: Tensor) -> Tensor:
    """Each token's rows, summed by their slopes: (T, D)."""
    if rows.shape[1] > 2:
        return torch.bmm(slopes[:, None], rows).squeeze(1)
    return (slopes[:, :, None] * rows).sum(1)
