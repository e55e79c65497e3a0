"""The figures of a comparison, from its store alone: each as PNG, PDF and an interactive HTML page. Loads no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from landscape.changes import groups_of
from landscape.store import Store
from samrec.errors import RunError

ENDINGS = (".png", ".pdf")


def figure_folder(store: Path) -> Path:
    """Beside the store: `study.h5` has its figures in `study-figures`."""
    return store.with_name(f"{store.stem}-figures")


def draw_comparison(path: Path, folder: Path | None = None) -> list[Path]:
    """Draw both kinds of surface, their cuts, the spectrum, the sharpness, scores and training; returns the files.

    Surfaces show one run a method, its first seed; cuts a method as one line with the band of its seeds; the other
    figures all runs. Where methods share two seeds or more, the change of every measure with its interval too.

    Raises:
        RunError: the folder cannot be made.
    """
    from landscape.plots import matplotlib_figures, plotly_figures, prepare

    folder = folder or figure_folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder} for figures: {error.strerror or error}") from None
    written = []
    with Store.read(path) as store:
        runs = [str(name) for name in store.table("comparisons", "runs").columns["run"]]
        shown = one_of_each_method(store)
        methods = [len(members) for members in groups_of(store).values()]
        figures: dict[str, Callable[[], Any]] = {
            "curve": lambda: prepare.prepare_curve(store, runs, by_group=True),
            "contour": lambda: prepare.prepare_contour(store, shown),
            "relief": lambda: prepare.prepare_relief(store, shown),
            "spectrum": lambda: prepare.prepare_spectrum(store, runs),
            "sharpness": lambda: prepare.prepare_sharpness(store, runs),
            "scores": lambda: prepare.prepare_scores(store, "scores", runs),
            "training": lambda: prepare.prepare_training(store, runs),
        }
        if len(methods) > 1 and max(methods) > 1:
            figures["change"] = lambda: prepare.prepare_change(store)
        for name, prepared in figures.items():
            data = prepared()
            figure = getattr(matplotlib_figures, name)(data)
            for ending in ENDINGS:
                written.append(folder / f"{name}{ending}")
                matplotlib_figures.save(figure, written[-1])
            written.append(folder / f"{name}.html")
            plotly_figures.save(getattr(plotly_figures, name)(data), written[-1])
    return written


def one_of_each_method(store: Store) -> list[str]:
    """The run of the lowest seed of each method, the baseline first."""
    columns = store.table("comparisons", "runs").columns
    first: dict[str, tuple[int, str]] = {}
    for run, method, seed in zip(columns["run"], columns["method"], columns["seed"], strict=True):
        found = first.get(str(method))
        if found is None or int(seed) < found[0]:
            first[str(method)] = (int(seed), str(run))
    return [run for _, run in first.values()]
