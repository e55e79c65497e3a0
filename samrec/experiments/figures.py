"""The figures of a comparison, from its store alone: each as PNG, PDF and an interactive HTML page. Loads no torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from landscape.changes import groups_of
from landscape.store import Store
from samrec.errors import RunError

INTERACTIVE = ".html"
ALL_ENDINGS = (".png", ".pdf", INTERACTIVE)


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
    from landscape.plots import prepare

    folder = folder or figure_folder(path)
    written: list[Path] = []
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
            written += drawn(name, prepared(), folder / name)
    return written


def drawn(kind: str, data: Any, target: Path, endings: Sequence[str] = ALL_ENDINGS) -> list[Path]:
    """One figure, a file an ending: TARGET.png and so on; returns them.

    Raises:
        RunError: the folder cannot be made.
    """
    from landscape.plots import matplotlib_figures, plotly_figures

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {target.parent} for figures: {error.strerror or error}") from None
    figure = getattr(matplotlib_figures, kind)(data)
    files = {ending: target.with_name(target.name + ending) for ending in endings}
    for ending, file in files.items():
        if ending == INTERACTIVE:
            plotly_figures.save(getattr(plotly_figures, kind)(data), file)
        else:
            matplotlib_figures.save(figure, file)
    return list(files.values())


def one_of_each_method(store: Store) -> list[str]:
    """The run of the lowest seed of each method, the baseline first."""
    columns = store.table("comparisons", "runs").columns
    first: dict[str, tuple[int, str]] = {}
    for run, method, seed in zip(columns["run"], columns["method"], columns["seed"], strict=True):
        found = first.get(str(method))
        if found is None or int(seed) < found[0]:
            first[str(method)] = (int(seed), str(run))
    return [run for _, run in first.values()]
