"""SASRec's summed loss over a chunk of users: its gradient, and products with its Hessian, without a graph.

One forward pass that carries the tangents of k directions, then one backward pass that carries how the slopes change
along them (Pearlmutter, "Fast exact multiplication by the Hessian", 1994): what the gradient alone takes is done once
for all directions.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from samrec.data.batches import attention_bias
from samrec.models.encoder import LAYER_NORM_EPS, Block
from samrec.models.losses import Loss, Scored
from samrec.models.sasrec import SASRec
from samrec.models.second_order.block import block
from samrec.models.second_order.duals import Dual, Pull, Weight
from samrec.models.second_order.layer_norm import layer_norm
from samrec.models.second_order.pieces import Piece, pieces
from samrec.models.second_order.readout import all_items, candidates
from samrec.models.second_order.score_slopes import is_known

Named = Mapping[str, Tensor]
TABLE, POSITIONS = "item_embedding.weight", "position_embedding.weight"


@dataclass(frozen=True, slots=True)
class HandWritten:
    """Derivatives of one model's summed loss over a chunk, for any weights of its shapes."""

    model: SASRec
    loss: Loss

    @classmethod
    def of(cls, model: SASRec, loss: Loss) -> "HandWritten | None":
        """None where the model computes something else than SASRec, or the loss is not written out."""
        plain = type(model) is SASRec and is_known(loss)
        return cls(model, loss) if plain else None

    def gradient(self, params: Named, chunk: Scored, names: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The summed loss in float64, and its gradient in the tensors named."""
        weights = {name: Weight(weight, [], name in names) for name, weight in params.items()}
        loss = self._passed(weights, chunk, 0)
        return loss, {name: weights[name].slopes[0] for name in names}

    def products(self, params: Named, chunk: Scored, directions: Named) -> dict[str, Tensor]:
        """Products of the Hessian of the summed loss with (columns, *shape) of some of the tensors, and so shaped.

        Tensors without a direction stand still, and their part of the product is left out.
        """
        columns = len(next(iter(directions.values())))
        weights = {
            name: Weight(weight, list(directions[name].unbind(0)) if name in directions else [], name in directions)
            for name, weight in params.items()
        }
        self._passed(weights, chunk, columns)
        return {name: torch.stack(weights[name].slopes) for name in directions}

    def _passed(self, weights: Mapping[str, Weight], chunk: Scored, columns: int) -> Tensor:
        """Forward and back, piece by piece; slopes are left in the weights, the summed loss is returned."""
        table = weights[TABLE]
        if table.wanted:
            table.slopes = [torch.zeros_like(table.value) for _ in range(columns or 1)]
        with torch.no_grad():
            tangents = table.along or [torch.zeros_like(table.value)] * columns
            loss = sum(self._piece(weights, Dual(table.value, tangents), piece) for piece in pieces(chunk))
            for slope in table.slopes:
                slope[0] = 0  # the padding row
        return cast(Tensor, loss)

    def _piece(self, weights: Mapping[str, Weight], table: Dual, piece: Piece) -> Tensor:
        slots, ids = piece.items.numel(), piece.items.reshape(-1)
        if piece.candidates is not None:
            ids = torch.cat([ids, piece.candidates.reshape(-1)])
        rows = table.map(lambda one: one.index_select(0, ids))
        states, pull_trunk = self._trunk(rows.map(lambda one: one[:slots]), piece, weights)
        hidden = states.map(lambda one: one.index_select(0, piece.slots))
        slopes = weights[TABLE].slopes
        if piece.candidates is None:
            scored = slice(1, self.model.item_count + 1)
            of_items = [slope[scored] for slope in slopes]
            read = all_items(hidden, table.map(lambda one: one[scored]), piece.targets - 1, of_items)
        else:
            shape = (*piece.candidates.shape, self.model.size)
            rows = rows.map(lambda one: one[slots:].view(shape))
            read = candidates(hidden, rows, self.loss, piece.targets, piece.drawable)
        g = read.of_hidden.map(lambda one: one.new_zeros(slots, one.shape[1]).index_copy_(0, piece.slots, one))
        g = pull_trunk(g)
        of_rows = [[one] for one in read.of_rows] or [[] for _ in slopes]
        for slope, of_inputs, of_scored in zip(slopes, g.along or [g.value], of_rows, strict=False):
            slope.index_add_(0, ids, torch.cat([of_inputs, *of_scored]))
        return read.loss

    def _trunk(self, embedded: Dual, piece: Piece, weights: Mapping[str, Weight]) -> tuple[Dual, Pull]:
        """Hidden states (R W, D) of all slots; the pull ends at their item embeddings."""
        position, places = weights[POSITIONS], piece.positions.reshape(-1)
        x = embedded.value + position.value.index_select(0, places)
        along = list(embedded.along)
        if position.along:
            shifts = [one.index_select(0, places) for one in position.along]
            along = [one + shift for one, shift in zip(along, shifts, strict=True)]
        bias = attention_bias(piece.visible, x.dtype)[:, 0]
        y, pull = layer_norm(Dual(x, along), weights["input_norm.weight"], weights["input_norm.bias"], LAYER_NORM_EPS)
        pulls = [pull]
        for number, layer in enumerate(cast(list[Block], self.model.blocks)):
            own = {name: weights[f"blocks.{number}.{name}"] for name, _ in layer.named_parameters()}
            y, pull = block(y, bias, own, layer.heads)
            pulls.append(pull)

        def pull_all(g: Dual) -> Dual:
            for pull in reversed(pulls):
                g = pull(g)
            if position.wanted:
                slopes = g.along or [g.value]
                position.leave([torch.zeros_like(position.value).index_add_(0, places, one) for one in slopes])
            return g

        return y, pull_all
