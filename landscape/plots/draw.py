"""The short way to a figure: store, kind, names. Prepared by `prepare`, drawn by matplotlib or by plotly."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from landscape.errors import InvalidArgument
from landscape.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = {"scores": "checkpoints", "study": "quantities", "relation": "measures"}  # what `names` is called there
Place = str | os.PathLike[str] | Store


@overload
def draw(
    store: Place,
    kind: str,
    names: str | Sequence[str] = ...,
    *,
    interactive: Literal[False] = ...,
    style: str = ...,
    columns: int | None = ...,
    **options: Any,
) -> "Figure": ...
@overload
def draw(
    store: Place,
    kind: str,
    names: str | Sequence[str] = ...,
    *,
    interactive: Literal[True],
    style: str = ...,
    columns: int | None = ...,
    **options: Any,
) -> Any: ...
def draw(
    store: Place,
    kind: str,
    names: str | Sequence[str] = (),
    *,
    interactive: bool = False,
    style: str = "paper",
    columns: int | None = None,
    **options: Any,
) -> Any:
    """Draw what a store holds, several records side by side on one scale; a notebook shows the figure.

    Args:
        store: the store or its path; a writer may be at work on it.
        kind: "contour", "relief", "curve", "spectrum", "density", "sharpness", ...: `plots.prepare.prepare_KIND`.
        names: of records (of a study: quantities or measures; of scores: checkpoints); all by default.
        interactive: by plotly, to be turned and zoomed, instead of matplotlib.
        style: "paper", "talk" or "dark".
        columns: fits the figure to 1 or 2 columns of a two-column paper.
        options: the further ones of `prepare_KIND`, such as `value="ndcg@10"` of a contour.

    Returns:
        A matplotlib or a plotly figure; `plots.matplotlib_figures.save` and that of plotly write it.

    Raises:
        InvalidArgument: another kind or style, or nothing of the kind in the store.
        StoreError: no store there, or no record of that name.
    """
    from landscape.plots import prepare
    from landscape.plots.style import style_named

    kinds = sorted(name.removeprefix("prepare_") for name in dir(prepare) if name.startswith("prepare_"))
    if kind not in kinds:
        raise InvalidArgument(f"expected a kind of figure out of {', '.join(kinds)}, got {kind!r}")
    look = style_named(style, columns=columns)
    chosen = [names] if isinstance(names, str) else list(names)
    opened = store if isinstance(store, Store) else Store.read(store)
    data = getattr(prepare, f"prepare_{kind}")(opened, **{NAMED.get(kind, "names"): chosen}, **options)
    if interactive:
        from landscape.plots import plotly_figures

        return getattr(plotly_figures, kind)(data, style=look)
    from landscape.plots import matplotlib_figures

    return getattr(matplotlib_figures, kind)(data, style=look)
