"""Curvature of a small SASRec: every operator against dense matrices, and eigenvalues against other tools'."""

import numpy as np
import pytest
import torch
from landscape_tests.dense import dense_fisher, dense_gauss_newton
from landscape_tests.known import dense_hessian
from samrec_tests.test_objective import some_interactions

from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import EmpiricalFisher, GaussNewton, Hessian
from landscape.objective import gradient_at
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective

ITEMS = 40
OPERATORS = {
    "Hessian": (Hessian, dense_hessian),
    "Gauss-Newton": (GaussNewton, dense_gauss_newton),
    "empirical Fisher": (EmpiricalFisher, dense_fisher),
}


def objective_of(*, loss="bce", tokens=4096, dtype=torch.float64, size=4):
    model = SASRec(ITEMS, size=size, heads=2, layers=2, max_length=6)
    model.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return SequenceObjective(model.to(dtype), some_interactions(9, longest=9), loss=loss, tokens=tokens)


def columns(size, count=4):
    return torch.randn(size, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize(("make", "dense"), OPERATORS.values(), ids=OPERATORS)
def test_every_operator_is_its_dense_matrix(make, dense, loss):
    objective = objective_of(loss=loss)
    matrix, V = dense(objective), columns(objective.layout.size)
    for tokens in (20, 4096):
        operator = make(objective_of(loss=loss, tokens=tokens))
        torch.testing.assert_close(operator @ V, matrix @ V, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(operator(V[:, 0]), matrix @ V[:, 0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize("block", ["item table", "attention", "norms", "rows:tail"])
def test_a_block_is_a_block_of_the_whole(loss, block):
    from landscape.blocks import mask_of

    objective = objective_of(loss=loss)
    mask = mask_of(objective.layout, block)
    operator, whole = Hessian(objective, block=block), Hessian(objective)
    v = columns(operator.size)[:, 0]
    padded = torch.zeros(whole.size, dtype=torch.float64)
    padded[mask] = v
    torch.testing.assert_close(operator(v), whole(padded)[mask], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_exact_methods_agree_and_products_are_symmetric(loss):
    objective = objective_of(loss=loss, tokens=20)
    one, other = (Hessian(objective, method=method) for method in ("double-backward", "forward-over-reverse"))
    U = columns(one.size)
    torch.testing.assert_close(one @ U, other @ U, rtol=1e-10, atol=1e-13)
    inner = U.T @ (Hessian(objective) @ U)
    torch.testing.assert_close(inner, inner.T, rtol=1e-11, atol=1e-12)


def test_single_precision_is_near_double():
    exact, single = Hessian(objective_of()), Hessian(objective_of(dtype=torch.float32))
    v = columns(exact.size)[:, 0]
    distance = torch.linalg.vector_norm(single(v) - exact(v)) / torch.linalg.vector_norm(exact(v))
    assert distance < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_central_differences_state_an_error_that_covers_leading_eigenvectors(dtype):
    trained = objective_of()
    for _ in range(30):
        gradient = trained.layout.unflatten(gradient_at(trained, trained.weights)[1])
        for name, tensor in trained.weights.items():
            tensor.sub_(gradient[name], alpha=0.1)
    rounded = {name: tensor.to(dtype) for name, tensor in trained.weights.items()}
    trained.weights.update({name: tensor.double() for name, tensor in rounded.items()})
    values, eigenvectors = torch.linalg.eigh(dense_hessian(trained))
    leading = eigenvectors[:, values.abs().argsort(descending=True)[:4]]
    exact, near = Hessian(trained), Hessian(objective_of(dtype=dtype), rounded, method="central-differences")
    for v in (*columns(exact.size).unbind(1), *leading.unbind(1)):
        off = torch.linalg.vector_norm(near(v) - exact(v)) / torch.linalg.vector_norm(exact(v))
        assert off < near.relative_error < 2e-3


class Scorer(torch.nn.Module):
    """The objective's own scores as a model of one batch, for tools that take modules."""

    def __init__(self, objective):
        super().__init__()
        self.sasrec = objective._model
        self.sasrec.requires_grad_(True)

    def forward(self, index):
        chunk = self.chunks[int(index[0])]
        return self.sasrec(chunk.batch, chunk.candidates, fused=False)


def peers_case():
    """A model, a loss and data that other tools take: the same objective in one chunk, as a mean over targets."""
    objective = objective_of(size=8)
    (chunk,) = objective.chunks
    model = Scorer(objective)
    model.chunks = objective.chunks

    def mean_loss(z, _):
        return objective.loss(z, chunk).sum() / chunk.counts.sum()

    return objective, model, mean_loss, [(torch.zeros(1, dtype=torch.int64), torch.zeros(1))]


def ours(objective):
    operator = Hessian(objective)
    pairs = lanczos(operator, operator.size, top=2, bottom=1, tolerance=1e-6)
    assert all(pair.converged for pair in pairs.values())
    return [pair.value for pair in pairs.values()]


@pytest.mark.filterwarnings("ignore")
def test_curvlinops_finds_the_same_eigenvalues():
    import curvlinops
    from scipy.sparse.linalg import eigsh

    objective, model, mean_loss, data = peers_case()

    class Loss(torch.nn.Module):
        reduction = "mean"

        def forward(self, z, target):
            return mean_loss(z, target)

    theirs = curvlinops.HessianLinearOperator(
        model, Loss(), list(model.parameters()), data, num_data=1, check_deterministic=False
    )
    assert theirs.shape[0] == objective.layout.size + 8  # the padding row, which is free there and without curvature
    operator = theirs.to_scipy(dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    top = eigsh(operator, k=2, which="LA", tol=1e-8, return_eigenvectors=False, v0=start)
    bottom = eigsh(operator, k=1, which="SA", tol=1e-8, return_eigenvectors=False, v0=start)
    np.testing.assert_allclose(ours(objective), [*np.sort(top)[::-1], *bottom], rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_hessian_eigenthings_finds_the_same_eigenvalues():
    import hessian_eigenthings as he

    objective, model, mean_loss, data = peers_case()
    # without re-orthogonalisation it gives the largest eigenvalue twice
    operator = he.HessianOperator(model, data, he.supervised_loss(mean_loss))
    top = he.lanczos(operator, k=2, which="LA", tol=1e-9, seed=0, max_iter=100, reorthogonalize=True)
    bottom = he.lanczos(operator, k=1, which="SA", tol=1e-9, seed=0, max_iter=100, reorthogonalize=True)
    theirs = [*np.sort(np.asarray(top.eigenvalues))[::-1], *np.asarray(bottom.eigenvalues)]
    np.testing.assert_allclose(ours(objective), theirs, rtol=1e-4)
