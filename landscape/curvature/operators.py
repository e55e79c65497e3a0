"""Curvature as operators: products with the Hessian, the Gauss-Newton matrix or the empirical Fisher, never the matrix.

Letters: w the weights, z the model's outputs, v a vector over the free coordinates, V several of them as columns, H the
Hessian of the mean loss, J the derivative of z in w, n_u the targets of unit u and S_u its summed loss.

    Hessian           H
    GaussNewton       sum over chunks of J^T H_z J / sum n_u, with H_z the Hessian of the summed loss in z
    EmpiricalFisher   sum over units of grad S_u (grad S_u)^T / sum n_u

Each is summed over chunks in float64 and divided once, so that no result depends on how the data is cut, and inside a
chunk the weights' own precision is used. Vectors are flat and float64 over the free coordinates, in the layout's order,
or over those of one block. Any length of v is safe: columns are scaled to one before the product and back after it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from landscape.blocks import mask_of
from landscape.curvature.derivatives import (
    agrees_with_differences,
    double_backward,
    forward_over_reverse,
    gradient_of,
    push_and_pull,
    supports_double_backward,
)
from landscape.curvature.differences import Differences
from landscape.errors import InvalidArgument
from landscape.objective import Objective, own_derivatives
from landscape.parameters import Params, Vector

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

Product = Callable[[Vector], Vector]
Columns = Float[Tensor, "free columns"]
METHODS = ("auto", "own", "double-backward", "forward-over-reverse", "central-differences")


class Operator(ABC):
    """A symmetric linear map, known by its products alone."""

    size: int  # n, the length of a vector
    device: torch.device  # where products are made; vectors may live elsewhere and come back there

    @property
    def relative_error(self) -> float | None:
        """What was stated of the error of products so far, the largest; None where they are exact to rounding."""
        return None

    @abstractmethod
    def matmat(self, V: Columns) -> Columns:
        """The product with several vectors at once, (n, columns) in float64."""

    def matvec(self, v: Vector) -> Vector:
        """The product with one vector."""
        self._check(v, 1)
        return self.matmat(v[:, None])[:, 0]

    def __call__(self, v: Vector) -> Vector:
        """`matvec`."""
        return self.matvec(v)

    def __matmul__(self, other: Tensor) -> Tensor:
        """With a vector (n,) or columns (n, k)."""
        return self.matvec(other) if other.ndim == 1 else self.matmat(other)

    def to_scipy(self) -> "LinearOperator":
        """The same map on NumPy arrays in float64, for `scipy.sparse.linalg`."""
        from scipy.sparse.linalg import LinearOperator

        def of(product: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
            return lambda array: product(torch.as_tensor(array.copy(), dtype=torch.float64)).cpu().numpy()

        one = of(lambda v: self.matvec(v.reshape(-1)))
        return LinearOperator(
            (self.size, self.size), matvec=one, rmatvec=one, matmat=of(self.matmat), rmatmat=of(self.matmat), dtype="f8"
        )

    def _check(self, vectors: Tensor, axes: int) -> None:
        if vectors.ndim != axes or len(vectors) != self.size:
            wanted = f"({self.size:,},)" if axes == 1 else f"({self.size:,}, k)"
            raise InvalidArgument(f"expected vectors of shape {wanted}, got {tuple(vectors.shape)}")


class ObjectiveOperator(Operator):
    """An operator that is a sum over an objective's chunks divided by its number of targets."""

    def __init__(self, objective: Objective, params: Params | None = None, *, block: str | None = None) -> None:
        """Fix where it is taken, and on which coordinates.

        Args:
            objective: its `outputs` is called with `differentiable_twice=True`.
            params: named tensors of the objective's layout; its own weights by default. They must not be changed.
            block: a named block (see `landscape.blocks`): only its coordinates move and are answered for, and no
                derivative in a tensor without any of them is taken.

        Raises:
            InvalidArgument: no such block.
        """
        self.objective = objective
        self.block = block
        self.weights = {name: tensor.detach() for name, tensor in (params or objective.weights).items()}
        self.device = next(iter(self.weights.values())).device
        layout = objective.layout
        mask = None if block is None else mask_of(layout, block).to(self.device)
        self._places = None if mask is None else mask.nonzero().squeeze(1)
        self.size = layout.size if self._places is None else len(self._places)
        self.names = list(layout.shapes)
        if mask is not None:
            parts = torch.split(mask, list(layout.sizes.values()))
            self.names = [name for name, part in zip(layout.sizes, parts, strict=True) if part.any()]
        self.targets = sum(chunk.counts.double().sum().item() for chunk in objective.chunks)

    def matmat(self, V: Columns) -> Columns:
        """The product with several vectors at once: cheaper than one by one, as they share each chunk's own passes."""
        self._check(V, 2)
        lengths = torch.linalg.vector_norm(V, dim=0, dtype=torch.float64)
        used = lengths.nonzero().squeeze(1)  # a column of zeros costs nothing
        if not len(used):
            return torch.zeros(V.shape, dtype=torch.float64, device=V.device)
        columns = self._summed(self._directions(V, lengths, used))
        if V.shape[1] == 1:  # no second vector where one may be gigabytes
            return columns[0].to(V.device).mul_(lengths / self.targets)[:, None]
        answer = torch.zeros(V.shape, dtype=torch.float64, device=V.device)
        for column, image in zip(used.tolist(), columns, strict=True):
            answer[:, column] = image.to(V.device)
        return answer.mul_(lengths / self.targets)

    def _directions(self, V: Columns, lengths: Tensor, used: Tensor) -> dict[str, Tensor]:
        """Unit tangents of each tensor, (columns, *shape), in the weights' precision."""
        layout = self.objective.layout
        columns = []
        for column in used.tolist():
            v = (V[:, column] / lengths[column].to(V.dtype)).to(self.device)
            if self._places is not None:
                v = v.new_zeros(layout.size).index_copy_(0, self._places, v)
            columns.append(layout.unflatten(v))
        kinds = {name: self.weights[name].dtype for name in self.names}
        if len(columns) == 1:
            return {name: columns[0][name].to(kinds[name])[None] for name in self.names}
        return {name: torch.stack([one[name].to(kinds[name]) for one in columns]) for name in self.names}

    def _summed(self, directions: Mapping[str, Tensor]) -> list[Vector]:
        """The sum over chunks for each column, flat, float64."""
        columns, layout = len(next(iter(directions.values()))), self.objective.layout
        flat = None
        if columns == 1 and self._places is None and not layout.frozen_rows:  # no copy of what may be gigabytes
            flat = torch.zeros(self.size, dtype=torch.float64, device=self.device)
            totals = {name: part[None] for name, part in layout.unflatten(flat).items()}  # views of it
        else:
            totals = {
                name: torch.zeros(tensor.shape, dtype=torch.float64, device=self.device)
                for name, tensor in directions.items()
            }
        for chunk in self.objective.chunks:
            for name, part in self._of_chunk(chunk, directions).items():
                _accumulate(totals[name], part)
        if flat is not None:
            return [flat]
        return [self._flat({name: total[column] for name, total in totals.items()}) for column in range(columns)]

    def _flat(self, tensors: Mapping[str, Tensor]) -> Vector:
        layout = self.objective.layout
        full = {
            name: tensors[name] if name in tensors else torch.zeros(shape, device=self.device)
            for name, shape in layout.shapes.items()
        }
        flat = layout.flatten(full)
        return flat if self._places is None else flat.index_select(0, self._places)

    @abstractmethod
    def _of_chunk(self, chunk: Any, directions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The product summed over one chunk: (columns, *shape) for each tensor."""

    def _leaves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All weights as a function's arguments, and those of them that derivatives are taken in."""
        moving = {name: self.weights[name].detach().requires_grad_(True) for name in self.names}
        return {**self.weights, **moving}, moving

    def _outputs(self, params: Params, chunk: Any) -> Tensor:
        return self.objective.outputs(params, chunk, differentiable_twice=True)


class Hessian(ObjectiveOperator):
    """The Hessian of the mean loss.

    Double backward (Pearlmutter 1994) differentiates the gradient's own graph; forward over reverse carries a tangent
    through the gradient. Both are exact, and so is "own", what an objective offers by itself (`OwnDerivatives`).
    Central differences are four to eight gradients a column, at several steps whose limit is taken
    (`landscape.curvature.differences`), and say how far off they may be: `relative_error`.
    """

    def __init__(
        self,
        objective: Objective,
        params: Params | None = None,
        *,
        block: str | None = None,
        method: str = "auto",
        step: float | None = None,
    ) -> None:
        """Fix where it is taken, on which coordinates, and how.

        Args:
            objective: its `outputs` is called with `differentiable_twice=True`.
            params: named tensors of the objective's layout; its own weights by default. They must not be changed.
            block: only these coordinates.
            method: "auto" is the objective's "own" way if it has one; else double backward; where an operation of
                the model has no second backward pass, forward over reverse; where that fails too or is wrong, central
                differences.
            step: of central differences, the first and widest, for a v spread over the weights as noise would be;
                others start nearer. By default the cube root of the weights' precision times ||w||.

        Raises:
            InvalidArgument: no such block or method, a step that is not positive, or no own way where it is asked for.
        """
        super().__init__(objective, params, block=block)
        own = own_derivatives(objective)
        if method not in METHODS:
            raise InvalidArgument(f"expected a method out of {', '.join(METHODS)}, got {method!r}")
        if step is not None and not 0 < step < float("inf"):
            raise InvalidArgument(f"expected a positive step, got {step}")
        if method == "own" and own is None:
            raise InvalidArgument('expected an objective with derivatives of its own for "own", got one without')
        self.method = method
        if method == "auto":
            self.method = "own" if own is not None else self._able_method()
        self._own = own if self.method == "own" else None
        self._differences = Differences(
            lambda params: self._flat(gradient_of(objective, params, self.names)), self.weights, step=step
        )

    @property
    def relative_error(self) -> float | None:
        """Central differences: ||found - Hv|| / ||Hv|| as stated, the largest of all products so far; else None."""
        return self._differences.relative_error

    @property
    def step(self) -> float:
        """The first step of central differences."""
        return self._differences.step

    def _able_method(self) -> str:
        """The first way that works on one chunk; forward over reverse only where differences agree with it."""
        chunk = self.objective.chunks[0]
        if supports_double_backward(lambda part: self._summed_loss(*self._leaves(), part), chunk):
            return "double-backward"
        params, moving = self._leaves()
        generator = torch.Generator().manual_seed(0)
        along = {name: torch.randn(one.shape, generator=generator).to(one)[None] for name, one in moving.items()}

        def loss(given: Params) -> Tensor:
            return self._summed_loss({**params, **given}, given, chunk)[0]

        return "forward-over-reverse" if agrees_with_differences(loss, moving, along) else "central-differences"

    def _summed_loss(self, params: Params, moving: Params, chunk: Any) -> tuple[Tensor, list[Tensor]]:
        return self.objective.loss(self._outputs(params, chunk), chunk).double().sum(), list(moving.values())

    def _summed(self, directions: Mapping[str, Tensor]) -> list[Vector]:
        if self.method != "central-differences":
            return super()._summed(directions)
        columns = range(len(next(iter(directions.values()))))
        return [self._differences.product({name: one[k] for name, one in directions.items()}) for k in columns]

    def _of_chunk(self, chunk: Any, directions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._own is not None:
            return self._own.products(self.weights, chunk, directions)
        way = double_backward if self.method == "double-backward" else forward_over_reverse
        params, moving = self._leaves()
        return way(lambda given: self._summed_loss({**params, **given}, given, chunk)[0], moving, directions)


class GaussNewton(ObjectiveOperator):
    """The generalised Gauss-Newton matrix J^T H_z J of the mean loss (Schraudolph 2002): never negative if H_z is not.

    One forward pass with a tangent and one backward pass a column; without forward derivatives of the model, two
    backward passes more.
    """

    def _of_chunk(self, chunk: Any, directions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        params, moving = self._leaves()

        def curved(z: Tensor, tangents: list[Tensor]) -> list[Tensor]:
            return _in_outputs(lambda at: self.objective.loss(at, chunk).double().sum(), z, tangents)

        return push_and_pull(lambda given: self._outputs({**params, **given}, chunk), curved, moving, directions)


class EmpiricalFisher(ObjectiveOperator):
    """The empirical Fisher matrix: sum over units of grad S_u (grad S_u)^T, divided by the number of all targets.

    The unit is the objective's own (a user, an image) and S_u its summed loss, so that a user with ten targets counts
    as one observation of ten terms; the division puts it on the scale of `Hessian` and `GaussNewton`, and with one
    target a unit it is the textbook mean of squared gradients. It is not the Fisher matrix: the targets are those of
    the data and not drawn from the model (Kunstner et al. 2019). The units' gradients are never formed.
    """

    def _of_chunk(self, chunk: Any, directions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        params, moving = self._leaves()

        def losses(given: Params) -> Tensor:
            return self.objective.loss(self._outputs({**params, **given}, chunk), chunk)

        return push_and_pull(losses, lambda _, tangents: tangents, moving, directions)


def _accumulate(total: Tensor, part: Tensor) -> None:
    """Add in place, a piece at a time: PyTorch would first copy all of a part of lower precision into the total's."""
    pieces = (torch.split(flat, 1 << 22) for flat in (total.view(-1), part.reshape(-1)))
    for here, added in zip(*pieces, strict=True):
        here += added


def _in_outputs(loss: Callable[[Tensor], Tensor], z: Tensor, tangents: list[Tensor]) -> list[Tensor]:
    """H_z times each tangent."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        if not slope.requires_grad:  # linear in the outputs
            return [torch.zeros_like(tangent) for tangent in tangents]
        return [torch.autograd.grad(slope, leaf, tangent, retain_graph=True)[0] for tangent in tangents]
