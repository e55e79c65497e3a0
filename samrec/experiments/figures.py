"""The figures of a comparison, from its store alone: each as PNG, PDF and an interactive HTML page. Loads no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from landscape.store import Store
from samrec.errors import RunError

ENDINGS = (".png", ".pdf")


def figure_folder(store: Path) -> Path:
    """Beside the store: `study.h5` has its figures in `study-figures`."""
    return store.with_name(f"{store.stem}-figures")


def draw_comparison(path: Path, folder: Path | None = None) -> list[Path]:
    """Draw both kinds of surface, the spectrum, the sharpness and the scores; returns the files.

    Surfaces show one run a method, its first seed; the other figures all runs.
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
        figures: dict[str, Callable[[], Any]] = {
            "contour": lambda: prepare.prepare_contour(store, shown),
            "relief": lambda: prepare.prepare_relief(store, shown),
            "spectrum": lambda: prepare.prepare_spectrum(store, runs),
            "sharpness": lambda: prepare.prepare_sharpness(store, runs),
            "scores": lambda: prepare.prepare_scores(store, "scores", runs),
        }
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
