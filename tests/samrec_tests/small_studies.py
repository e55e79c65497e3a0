"""Studies small enough to run in seconds, and what is asked of their folders."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from samrec_tests import small_runs
from samrec_tests.s3rec_files import write_s3rec_text

from samrec.experiments.cells import Study
from samrec.experiments.studies import grid
from samrec.experiments.study_folder import StudyFolder, define, held
from samrec.experiments.sweep import Outcome, sweep

RHOS = [0, 0.05]
SEEDS = (1, 2)
SMALL = [f"{name}={value}" for name, value in (("size", 8), ("layers", 1), ("max_length", 16), ("batch_size", 20))]


@contextlib.contextmanager
def measuring_killed_after(count: int) -> Iterator[None]:
    """A measuring inside is interrupted once so many runs' measurements are kept."""
    import samrec.experiments.measure as module

    keep, kept = module.keep, []

    def killed(*arguments):
        if len(kept) == count:
            raise KeyboardInterrupt
        kept.append(arguments)
        keep(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            yield


def data_file(folder: Path) -> Path:
    """The small data as a file."""
    path = folder / "data.txt"
    if not path.exists():
        write_s3rec_text(small_runs.data(), path)
    return path


def study(folder: Path, rhos=RHOS, **changes) -> Study:
    """Two radii, or others."""
    return grid(small_runs.config(data=str(data_file(folder)), **changes), {"rho": rhos})


def defined(folder: Path, rhos=RHOS, seeds=SEEDS, **changes) -> StudyFolder:
    """The definition written into FOLDER/study."""
    data_file(folder)
    with held(folder / "study"):
        return define(folder / "study", study(folder, rhos, **changes), seeds, small_runs.data().fingerprint)


def swept(folder: Path, rhos=RHOS, seeds=SEEDS, workers=1, **changes) -> tuple[StudyFolder, list[Outcome]]:
    """A study taken to its end in FOLDER/study."""
    found = defined(folder, rhos, seeds, **changes)
    return found, sweep(found, data=str(data_file(folder)), workers=workers, device="cpu")


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file of a folder was written, and as which inode: a file written anew differs."""
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted(folder.iterdir())}


def status(folder: Path) -> str:
    """What run.json says, "none" without one."""
    try:
        return str(json.loads((folder / "run.json").read_text())["status"])
    except (FileNotFoundError, ValueError):
        return "none"


def arguments(*more, out="study", epochs=2, rho="0,0.05", seeds="1,2"):
    """The command line of a grid over rho in `out`."""
    base = [text for value in [*SMALL, f"epochs={epochs}"] for text in ("--base", value)]
    asked = ["--out", out, "--data", "data.txt", "--seeds", seeds, "--device", "cpu"]
    return ["sweep", "grid", "--no-figures", "--vary", f"rho={rho}", *asked, *base, *more]
