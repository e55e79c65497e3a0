"""LayerNorm over duals.

Letters: n the normalised x, w and b scale and shift, r the inverse of the deviation, D entries, g the slope in the
output, s = w g, J the symmetric derivative of n in x (see `samrec.models.layer_norm`).

    n. = J x.        slope in x: J s, and along a direction J s. + (the derivative of J s in x) x.
"""

import torch
from torch import Tensor

from samrec.models.layer_norm import bent, through
from samrec.models.second_order.duals import Dual, Pull, Weight


def layer_norm(x: Dual, scale: Weight, shift: Weight, eps: float) -> tuple[Dual, Pull]:
    """Over the last axis of (T, D)."""
    normed, mean, inverse = torch.native_layer_norm(x.value, [x.value.shape[-1]], None, None, eps)
    images = [through(tangent, x.value, mean, inverse) for tangent in x.along]

    def scaled(column: int) -> Tensor:
        y = images[column] * scale.value
        if scale.along:
            y.addcmul_(normed, scale.along[column])
        return y.add_(shift.along[column]) if shift.along else y

    def pull(g: Dual) -> Dual:
        if scale.wanted:
            pairs = zip(g.along, images, strict=False)
            changes = [torch.addcmul(tangent * normed, g.value, image).sum(0) for tangent, image in pairs]
            scale.leave(changes or [(g.value * normed).sum(0)])
        if shift.wanted:
            shift.leave([one.sum(0) for one in g.along or [g.value]])
        s = g.value * scale.value
        back = through(s, x.value, mean, inverse)
        along = []
        for column, tangent in enumerate(g.along):
            changed = tangent * scale.value
            if scale.along:
                changed.addcmul_(g.value, scale.along[column])
            straight = through(changed, x.value, mean, inverse)
            along.append(straight.add_(bent(s, back, x.along[column], images[column], normed, inverse)))
        return Dual(back, along)

    y = torch.addcmul(shift.value, normed, scale.value)
    return Dual(y, [scaled(column) for column in range(len(images))]), pull
