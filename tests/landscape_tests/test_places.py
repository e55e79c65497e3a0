"""Marks, paths, barriers and bands are drawn where they were measured, and the captions say what they are."""

from dataclasses import replace

import numpy as np
import pytest
from landscape_tests.drawn_stores import SETTINGS, add_surface, bowl, checkpoint

from landscape.errors import InvalidArgument
from landscape.grid import Axis, Grid
from landscape.plots import matplotlib_figures, plotly_figures
from landscape.plots.prepare import prepare_contour, prepare_curve, prepare_relief
from landscape.plots.scale import short
from landscape.records import Direction, Mark, Surface, Trajectory
from landscape.store import Store

AXIS = Axis(-0.25, 1.25, 31)


def direction(kind, seed=0, *, orthogonal_to=None, **policy):
    return Direction(
        kind, seed, policy, f"{kind}{seed}{orthogonal_to}", 2.5, orthogonal_to, None if orthogonal_to is None else 0.0
    )


def add(store, name, loss, *, alpha=AXIS, beta=None, x, y=None, marks=(), group="", share=1.0, checkpoint_name="base"):
    """A surface with this loss."""
    grid = Grid(alpha, beta)
    order = grid.coarse_to_fine()[: round(share * grid.size)]
    store.add_checkpoint(checkpoint(checkpoint_name))
    store.add_surface(
        Surface(
            name=name, checkpoint=checkpoint_name, alpha=alpha.values, beta=None if beta is None else beta.values,
            status=np.zeros(grid.shape, dtype=np.uint8), values={"loss": np.full(grid.shape, np.nan)},
            x=x, y=y, provenance=SETTINGS, centre={"loss": 0.5}, marks=marks, group=group,
        )
    )  # fmt: skip
    store.write_points(name, order, {"loss": loss(*grid.coordinates[order].T)})


def hill(alpha):
    """0.5 at 0, 0.7 at 1, and 1 more in the middle."""
    return 0.5 + 0.2 * alpha + 4 * alpha * (1 - alpha)


ENDS = (Mark("sasrec", 0.0, 0.0, 0.5), Mark("samrec", 1.0, 0.0, 0.7))


def test_the_barrier_stands_over_the_straight_line_between_both_ends(path):
    with Store.write(path) as store:
        add(store, "line", hill, x=direction("between"), marks=ENDS)
        data = prepare_curve(store)
    (line,) = data.lines
    assert [(spot.x, spot.y, spot.label, spot.above) for spot in line.spots] == [
        (0, pytest.approx(0.5), "sasrec", False),
        (1, pytest.approx(0.7), "samrec", False),
    ]
    assert (line.barrier.at, line.barrier.low, line.barrier.high) == pytest.approx((0.5, 0.6, 1.6))
    assert line.barrier.y == pytest.approx(0.5 + 0.2 * line.barrier.x)
    larger = (hill(AXIS.values) - 0.7).max()
    assert any(
        f"1 over the straight line between their losses (dashed), {short(larger, 3)} over" in n for n in data.notes
    )
    assert any(note.startswith("direction from sasrec (0) to samrec (1), a distance of 2.5") for note in data.notes)


def test_nothing_is_marked_where_another_value_is_drawn_or_no_checkpoint_was_met(path):
    with Store.write(path) as store:
        add_surface(store, "plain", lambda a: 1 + a**2, beta=None, extra={"accuracy": lambda a: a})
        (line,) = prepare_curve(store, value="accuracy").lines
        assert (line.spots, line.barrier) == ((), None)
        (line,) = prepare_curve(store).lines
        assert (line.spots, line.barrier) == ((), None)


@pytest.mark.parametrize("band", ["range", "sd"])
def test_seeds_are_one_line_with_a_band(path, band):
    with Store.write(path) as store:
        for seed, slope in enumerate((1.0, 2.0, 6.0)):
            add(
                store, f"base-seed-{seed}", lambda a, s=slope: 0.5 + s * a**2, x=direction("filter", seed), group="base"
            )
        add(store, "other", lambda a: 0.4 + a**2, x=direction("filter", 0), checkpoint_name="other")
        data = prepare_curve(store, ["base", "other"], band=band)
        assert len(prepare_curve(store, ["base"], band=band).lines) == 1
        alone = prepare_curve(store, ["base-seed-1"], band=band)
    family, other = data.lines
    square = AXIS.values**2
    assert family.values == pytest.approx(0.5 + 3 * square)
    spread = np.std([1, 2, 6], ddof=1) * square
    low, high = (square, 6 * square) if band == "range" else (3 * square - spread, 3 * square + spread)
    assert family.low == pytest.approx(data.scale.drawn(0.5 + low))
    assert family.high == pytest.approx(data.scale.drawn(0.5 + high))
    assert other.low is None
    assert any("3 seeds" in note for note in data.notes)
    assert any("differ in kind or seed" in note for note in data.notes)
    assert alone.lines[0].values == pytest.approx(0.5 + 2 * square)


def test_a_band_that_is_half_measured_has_the_points_all_seeds_have(path):
    with Store.write(path) as store:
        for seed, share in ((0, 1.0), (1, 0.5)):
            add(store, f"s{seed}", lambda a: 1 + a, x=direction("filter", seed), group="g", share=share)
        data = prepare_curve(store)
        with pytest.raises(InvalidArgument, match="band out of range, sd"):
            prepare_curve(store, band="iqr")
    assert len(data.lines[0].x) == round(0.5 * 31)
    assert "direction: filter-normalised (1 is the norm of each filter), seeds 0, 1" in data.notes


def plane_of_three(store):
    x = direction("through")
    marks = (
        Mark("sas-1", 0, 0, 0.25),
        Mark("sam-1", 1, 0, 0.26),
        Mark("sas-2", 0.5, 4.6, 0.24),
        Mark("beside", -1, 5.5, 0.9, 0.25),
    )
    add(store, "three", bowl(0.1, 0.25), alpha=Axis(-3, 4, 8), beta=Axis(-1, 6, 8), x=x,
        y=direction("through", 1, orthogonal_to=x.hash), marks=marks)  # fmt: skip


def test_names_stand_at_their_points_and_clear_of_each_other(path):
    with Store.write(path) as store:
        plane_of_three(store)
        data = prepare_contour(store)
    spots = data.panels[0].spots
    assert [(spot.x, spot.y, spot.label) for spot in spots[:3]] == [
        (0, 0, "sas-1"),
        (1, 0, "sam-1"),
        (0.5, 4.6, "sas-2"),
    ]
    assert [spot.above for spot in spots] == [True, False, True, False]  # the second beside the first, the last on top
    assert "beside: loss 0.9, 25.0 % of its distance outside the plane" in data.notes
    assert data.panels[0].trail is None


def path_in(store):
    x = direction("pca", checkpoints=[f"epoch-{k}" for k in range(9)])
    y = replace(direction("pca", 1, orthogonal_to=x.hash), policy=x.policy)
    turns = np.linspace(0, 3, 9)
    places = np.stack([4 - turns, np.sin(turns)], axis=1)
    places[-1] = 0
    distances = np.hypot(*places.T) * 1.25
    add(store, "on-path", bowl(0.1), alpha=Axis(-1, 5, 7), beta=Axis(-3, 3, 7), x=x, y=y)
    store.add_trajectory(
        Trajectory(
            name="t", checkpoint="base", labels=tuple(x.policy["checkpoints"]), epochs=np.arange(0.0, 90, 10),
            hashes=("h",) * 9, coordinates=places, distances=distances, residuals=distances * 0.6,
            losses=np.linspace(2, 0.5, 9), explained=np.array([0.9, 0.06, 0.04]), x=x, y=y, provenance=SETTINGS,
        )
    )  # fmt: skip
    return places


def test_the_path_is_drawn_where_it_went_with_epochs_far_enough_apart(path):
    with Store.write(path) as store:
        places = path_in(store)
        add(store, "elsewhere", bowl(0.1), alpha=Axis(-1, 5, 7), beta=Axis(-3, 3, 7), x=direction("raw"),
            y=direction("raw", 1, orthogonal_to="x"))  # fmt: skip
        data = prepare_contour(store, ["on-path"])
        assert prepare_contour(store, ["elsewhere"]).panels[0].trail is None
    trail = data.panels[0].trail
    assert np.array_equal(np.stack([trail.x, trail.y], axis=1), places)
    assert (trail.labels[0].label, trail.labels[-1].label) == ("0", "80")
    where = np.array([(spot.x, spot.y) for spot in trail.labels]) / 6
    assert min(np.hypot(*(one - other)) for k, one in enumerate(where) for other in where[:k]) > 0.13
    assert trail.texts[0] == "epoch 0: loss 2, 60.0 % of its distance outside the plane"
    (caption,) = (note for note in data.notes if "principal" in note)
    assert "explaining 90.0 % + 6.0 %" in caption
    assert "outside the plane: 60 to 60 % of a checkpoint's distance" in caption


def test_marks_and_paths_stand_at_the_height_of_the_surface(path):
    """Bilinear, as the relief is drawn; NaN beside it, so that nothing hangs in the air."""
    with Store.write(path) as store:
        plane_of_three(store)
        path_in(store)
        (three,) = prepare_relief(store, ["three"]).panels
        (on_path,) = prepare_relief(store, ["on-path"]).panels
    assert three.spots[0].height == pytest.approx(three.heights[1, 3])
    corner = three.heights[[5, 6]][:, 3]  # the third mark lies between beta 4 and 5 at alpha 0.5
    right = three.heights[[5, 6]][:, 4]
    between = 0.4 * (corner[0] + right[0]) / 2 + 0.6 * (corner[1] + right[1]) / 2
    assert three.spots[2].height == pytest.approx(between)
    assert np.isfinite(on_path.trail.heights).all()
    assert on_path.trail.labels[0].height == pytest.approx(on_path.trail.heights[0])


def test_what_lies_beside_a_relief_is_not_drawn_on_it(path):
    with Store.write(path) as store:
        marks = (Mark("inside", 0.5, 0.0, 0.3), Mark("far", 9.0, 0.0, 0.4))
        x = direction("through")
        square = {"alpha": Axis(-1, 1, 5), "beta": Axis(-1, 1, 5)}
        add(store, "s", bowl(1.0), **square, x=x, y=direction("through", 1, orthogonal_to=x.hash), marks=marks)
        data = prepare_relief(store)
    assert [np.isfinite(spot.height) for spot in data.panels[0].spots] == [True, False]
    (axes, _) = matplotlib_figures.relief(data).axes
    assert [text.get_text().strip() for text in axes.texts] == ["inside"]
    shown = [text for trace in plotly_figures.relief(data).data for text in trace.text or ()]
    assert shown == ["<b>inside</b>"]


def test_the_lowest_point_is_marked_where_it_is_not_the_centre(path):
    with Store.write(path) as store:
        add_surface(store, "centred", bowl(2.0))
        add_surface(store, "beside", lambda a, b: bowl(2.0)(a - 0.5, b + 0.3))
        add_surface(store, "level", lambda a, b: 1.0 + 0 * a * b)
        lowest = {panel.title: panel.lowest for panel in prepare_contour(store).panels}
        alone = prepare_contour(store, ["beside-surface"]).notes
    assert lowest["centred"] is None
    assert lowest["level"] is None  # every point is
    assert (lowest["beside"].x, lowest["beside"].y) == pytest.approx((0.5, -0.3))
    assert "◇: lowest point, 0.5 at (0.5, −0.3)" in alone


@pytest.mark.parametrize(("beside", "side"), [(0.2, "left"), (-0.2, "right")])
def test_a_name_does_not_cover_the_lowest_point(path, beside, side):
    with Store.write(path) as store:
        marks = (Mark("first", 0.0, -0.5, 0.3), Mark("near the lowest point", 0.2, 0.5, 0.4))
        square = {"alpha": Axis(-1, 1, 21), "beta": Axis(-1, 1, 21)}
        x = direction("through")
        y = direction("through", 1, orthogonal_to=x.hash)
        add(store, "s", lambda a, b: bowl(1.0)(a - 0.2 - beside, b - 0.6), **square, x=x, y=y, marks=marks)
        data = prepare_contour(store)
    assert (data.panels[0].lowest.x, data.panels[0].lowest.y) == pytest.approx((0.2 + beside, 0.6))
    assert [spot.side for spot in data.panels[0].spots] == ["center", side]
    aligned = [text.get_ha() for text in matplotlib_figures.contour(data).axes[0].texts if "near" in text.get_text()]
    assert aligned == ["right" if side == "left" else "left"]
    drawn = plotly_figures.contour(data).select_traces({"mode": "markers+text"})
    assert [trace.textposition for trace in drawn] == [("top center", f"top {side}")]


def test_runs_of_a_group_are_one_line_with_a_band(path):
    """Cuts of planes and lines alike: the mean over runs, from the lowest to the highest."""
    with Store.write(path) as store:
        for name, group, steep in (("a-1", "A", 1.0), ("a-2", "A", 3.0), ("b-1", "B", 5.0)):
            add_surface(store, name, bowl(steep))
            store.add_checkpoint(replace(store.checkpoint(name), config={"group": group}))
        data = prepare_curve(store, by_group=True)
        alone = prepare_curve(store)
    first, second = data.lines
    assert [line.label for line in data.lines] == ["A", "B"]
    assert first.values == pytest.approx(0.5 + 2 * first.x**2)
    assert first.low == pytest.approx(data.scale.drawn(0.5 + first.x**2))
    assert second.low is None
    assert "line and band: mean, and smallest to largest of 2 runs" in data.notes
    assert not any("not paired" in note for note in data.notes)
    assert len(alone.lines) == 3


def test_captions_name_eigenvalues_blocks_and_mixed_planes(path):
    top = direction("eigenvector", end="top", k=1, value=0.439, converged=True)
    low = replace(
        direction("eigenvector", orthogonal_to="t"), policy={"end": "bottom", "k": 2, "value": -0.3, "converged": False}
    )
    with Store.write(path) as store:
        square = {"alpha": Axis(-1, 1, 3), "beta": Axis(-1, 1, 3)}
        add(store, "eigen", bowl(1), **square, x=top, y=low)
        add(store, "block", bowl(1), **square, x=direction("layer", 3, block="item table"),
            y=direction("layer", 3, orthogonal_to="x", block="item table"))  # fmt: skip
        add(
            store,
            "mixed",
            bowl(1),
            **square,
            x=direction("between"),
            y=direction("filter", 2, orthogonal_to="b"),
            marks=ENDS,
        )
        told = [prepare_contour(store, [name]).notes[0] for name in ("eigen", "block", "mixed")]
    assert told == [
        "along eigenvectors of unit length, λmax = 0.439 and λmin, 2 = −0.3 (not settled)",
        "directions: layer-normalised (1 is the norm of each tensor), of item table alone, seed 3",
        "direction from sasrec (0) to samrec (1), a distance of 2.5; the second filter-normalised (1 is the norm of "
        "each filter), seed 2, orthogonal to it",
    ]


def test_both_drawers_draw_all_of_it(path, tmp_path):
    with Store.write(path) as store:
        plane_of_three(store)
        path_in(store)
        add(store, "line", hill, x=direction("between"), marks=ENDS)
        for seed in (0, 1):
            add(store, f"s{seed}", lambda a, s=seed: 0.5 + s * a**2, x=direction("filter", seed), group="seeds")
        figures = {
            "contour": prepare_contour(store, ["three", "on-path"]),
            "curve": prepare_curve(store, ["line", "seeds"]),
        }
    texts = {"contour": ("sas-2", "sam-1", "80"), "curve": ("sasrec", "barrier 1")}
    for kind, data in figures.items():
        figure = getattr(matplotlib_figures, kind)(data)
        matplotlib_figures.save(figure, tmp_path / f"{kind}.png")
        drawn = {text.get_text() for axes in figure.axes for text in axes.texts}
        assert set(texts[kind]) <= drawn
        page = getattr(plotly_figures, kind)(data)
        shown = " ".join(str(trace.text) for trace in page.data)
        assert all(text in shown for text in texts[kind])
