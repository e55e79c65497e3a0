"""Axes hit their ends and their zero, points sit where their index says, and every prefix of the order is a picture."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import InvalidArgument
from landscape.grid import Axis, Grid, parse_axis


def test_an_axis_reads_as_start_stop_points():
    assert parse_axis("-1:1:51") == Axis(-1.0, 1.0, 51)
    assert str(parse_axis("-0.5:2:11")) == "-0.5:2:11"


@pytest.mark.parametrize(
    "text",
    ["", "1", "-1:1", "-1:1:5:2", "a:b:3", "-1:1:2.5", "1:-1:5", "1:1:5", "0:1:1", "0:1:-3", "nan:1:3", "0:inf:3"],
)
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(InvalidArgument, match=r"^expected [^\n]*got [^\n]*$"):
        parse_axis(text)


def test_values_hold_both_ends_and_an_exact_zero():
    for start, stop, points in [(-1, 1, 51), (-0.3, 0.6, 10), (-0.1, 0.1, 7), (-1.1, 2.2, 31), (-1, 1, 4)]:
        values = Axis(start, stop, points).values
        assert (values[0], values[-1], len(values)) == (start, stop, points)
        np.testing.assert_allclose(values, start + (stop - start) * np.arange(points) / (points - 1), atol=1e-15)
        assert np.abs(values).min() == 0.0 or points == 4


def test_an_end_close_to_zero_stays_as_asked():
    assert Axis(1e-30, 1, 3).values[0] == 1e-30


def test_coordinates_follow_the_flat_index_with_beta_fastest():
    grid = Grid(Axis(-1, 1, 5), Axis(10, 12, 3))
    expected = list(itertools.product([-1, -0.5, 0, 0.5, 1], [10, 11, 12]))
    assert (grid.shape, grid.size) == ((5, 3), 15)
    np.testing.assert_array_equal(grid.coordinates, expected)
    np.testing.assert_array_equal(Grid(Axis(0, 1, 3)).coordinates, [[0.0], [0.5], [1.0]])


@given(st.integers(2, 40), st.one_of(st.none(), st.integers(2, 40)))
def test_the_order_visits_every_point_once(alpha, beta):
    grid = Grid(Axis(-1, 1, alpha), None if beta is None else Axis(0, 1, beta))
    order = grid.coarse_to_fine()
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(grid.size))


def test_the_middle_comes_first_and_then_the_corners():
    order = Grid(Axis(-1, 1, 5), Axis(-1, 1, 7)).coarse_to_fine()
    corners = {0, 6, 28, 34}
    assert order[0] == 2 * 7 + 3
    assert set(order[1:5].tolist()) == corners


def largest_hole(grid, visited):
    """The distance, in grid steps, from the loneliest point to the nearest visited one."""
    places = np.stack(np.unravel_index(np.arange(grid.size), grid.shape), axis=1)
    seen = places[visited]
    return np.abs(places[:, None] - seen[None]).max(axis=2).min(axis=1).max()


@pytest.mark.parametrize(("points", "hole"), [(5, 25), (9, 13), (60, 9), (150, 6), (700, 3), (1500, 2)])
def test_any_prefix_covers_the_whole_plane(points, hole):
    grid = Grid(Axis(-1, 1, 51), Axis(-1, 1, 51))
    in_order = largest_hole(grid, grid.coarse_to_fine()[:points])
    row_by_row = largest_hole(grid, np.arange(points))
    assert in_order <= hole < row_by_row
