import numpy as np
import pytest
import torch
from landscape_tests.known import quadratic, small_network
from landscape_tests.rates import SEEDS, covered, holds_at_the_stated_rate

from landscape.errors import InvalidArgument
from landscape.objective import loss_at
from landscape.records import SharpnessMeasure
from landscape.sharpness.keskar import highest_point, keskar_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, paired_mean, sam_metric_drop
from landscape.sharpness.metric_worst_case import keskar_metric_drop, worst_case_metric_drop
from landscape.sharpness.perturbation import displaced, scale_of
from landscape.sharpness.sam_step import ascent_step
from landscape.sharpness.worst_case import worst_case_sharpness, worst_points


def test_the_drop_along_sams_step_is_that_of_the_metric_before_and_after_unit_by_unit():
    small = small_network()
    (measure,) = sam_metric_drop(small, ["accuracy"], [3.0])
    step, _ = ascent_step(small, scale_of(small, "absolute"))
    before, after = (
        small.metrics(weights, ["accuracy"])["accuracy"] for weights in (small.weights, displaced(small, 3.0 * step))
    )
    drops = (before - after).numpy()
    assert measure.value == pytest.approx(drops.mean(), abs=1e-12)
    assert measure.value > 0
    assert measure.standard_error == pytest.approx(drops.std(ddof=1) / len(drops) ** 0.5, rel=1e-12)
    assert measure.setting["metric"] == "accuracy"


def test_the_drop_under_noise_of_a_linear_metric_is_zero_by_its_pairs():
    known = quadratic()  # "height" is a coordinate: + z and - z cancel
    (measure,) = average_metric_drop(known, ["height"], [0.3], pairs=3)
    assert measure.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("draws", [1, 2, 8])
def test_the_error_of_a_paired_mean_covers_the_truth_where_units_and_draws_vary(draws):
    generator = np.random.default_rng(0)
    hits, errors, means = [], [], []
    for _ in range(SEEDS):
        units, noise = generator.normal(0.5, 1, 40), generator.normal(0, 0.3 if draws > 2 else 0, draws)
        mean, error = paired_mean(units + noise[:, None] + generator.normal(0, 0.5, (draws, 40)))
        hits.append(covered(mean, error, 0.5, degrees=39))
        errors.append(error)
        means.append(mean)
    assert holds_at_the_stated_rate(hits)
    assert np.mean(errors) == pytest.approx(np.std(means, ddof=1), rel=0.12)


def test_one_draw_is_the_ordinary_paired_error_and_a_single_unit_has_none():
    table = np.array([[1.0, 2.0, 4.0, 5.0]])
    assert paired_mean(table) == pytest.approx((3.0, table.std(ddof=1) / 2))
    assert np.isnan(paired_mean(table[:, :1])[1])


def test_only_the_block_moves_and_rows_out_of_reach_drop_nothing():
    small = small_network()
    (still,) = sam_metric_drop(small, ["accuracy"], [5.0], block="rows:untouched")
    assert still.value == 0
    assert "gradient is zero" in still.note
    (under_noise,) = average_metric_drop(small, ["accuracy"], [5.0], block="rows:untouched", pairs=2)
    assert (under_noise.value, under_noise.standard_error) == (0, 0)
    assert all(torch.equal(a, b) for a, b in zip(small.weights.values(), small_network().weights.values(), strict=True))


def test_an_objective_without_metrics_refuses():
    small = small_network()
    small._metrics = None
    with pytest.raises(InvalidArgument, match="expected no metrics"):
        sam_metric_drop(small, ["accuracy"], [1.0])
    with pytest.raises(InvalidArgument, match="2 antithetic pairs"):
        average_metric_drop(small_network(), ["accuracy"], [1.0], pairs=1)


@pytest.mark.parametrize("p", ["2", "inf"])
@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_the_drop_at_the_worst_point_is_that_of_the_metric_there_unit_by_unit(p, scale):
    small, options = small_network(), {"p": p, "scale": scale, "steps": 5, "restarts": 2, "seed": 1}
    rise, drop = worst_case_metric_drop(small, ["accuracy"], [1.5], **options)
    ((measure, there),) = worst_points(small, [1.5], **options)
    assert (rise,) == worst_case_sharpness(small, [1.5], **options) == (measure,)
    assert loss_at(small, there).value - loss_at(small, small.weights).value == pytest.approx(rise.value, rel=1e-12)
    before, after = (small.metrics(weights, ["accuracy"])["accuracy"].numpy() for weights in (small.weights, there))
    assert drop.value == pytest.approx((before - after).mean(), abs=1e-12)
    assert drop.standard_error == pytest.approx((before - after).std(ddof=1) / len(before) ** 0.5, rel=1e-12)
    assert dict(drop.setting) == {**rise.setting, "metric": "accuracy"}
    size = small.layout.flatten(there) - small.layout.flatten(small.weights)
    T = scale_of(small, scale)
    u = size[T > 0] / T[T > 0]
    assert float(u.norm() if p == "2" else u.abs().max()) <= 1.5 * (1 + 1e-9)


def test_the_drop_at_keskars_point_is_that_of_the_metric_there_and_the_point_lies_in_the_box():
    small = small_network()
    rise, drop = keskar_metric_drop(small, ["accuracy"], 0.3, iterations=5)
    measure, there = highest_point(small, 0.3, iterations=5)
    assert rise == measure == keskar_sharpness(small, 0.3, iterations=5)
    w, moved_to = (small.layout.flatten(weights) for weights in (small.weights, there))
    assert ((moved_to - w).abs() <= 0.3 * (w.abs() + 1) * (1 + 1e-9)).all()
    centre = loss_at(small, small.weights).value
    assert 100 * (loss_at(small, there).value - centre) / (1 + centre) == pytest.approx(rise.value, rel=1e-12)
    before, after = (small.metrics(weights, ["accuracy"])["accuracy"].numpy() for weights in (small.weights, there))
    assert drop.value == pytest.approx((before - after).mean(), abs=1e-12)


def test_where_the_loss_overflows_at_the_worst_point_no_metric_is_taken_and_the_note_says_so(monkeypatch):
    small = small_network()
    lost = SharpnessMeasure("worst_case", {"rho": 1.0, "scale": "absolute"}, float("inf"), None, 1)
    monkeypatch.setattr("landscape.sharpness.metric_worst_case.worst_points", lambda *_, **__: [(lost, small.weights)])
    _, drop = worst_case_metric_drop(small, ["accuracy"], [1.0])
    assert np.isnan(drop.value)
    assert "not finite" in drop.note
