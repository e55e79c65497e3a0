"""What the measuring commands share: targets opened as objectives, their names, lists of numbers, cost of a step."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import InvalidArgument, LandscapeError
from landscape.memory import peak_memory_mib

if TYPE_CHECKING:
    from landscape.objective import Objective


def opened(
    targets: Sequence[str],
    *,
    name: str | None,
    threads: int | None,
    device: str,
    data: str | None = None,
    splits: Sequence[str] = (),
    usual_users: int | None = None,
    **settings: Any,
) -> Iterator[tuple[str, str, "Objective"]]:
    """For each target the checkpoint's name, the record's name and the objective, one at a time.

    The ones after the first are opened before it too, so that one that cannot be is refused before hours of measuring.
    `data` is passed on only where it was given: a target that cannot look elsewhere for its data then refuses it.

    Args:
        splits: every target on the first, then on the next; all but "train" end the record's name.
        usual_users: units to take where no number is given, if the target takes one and has so many.

    Raises:
        InvalidArgument: `name` for several targets, or two targets that would share a name.
    """
    import torch

    names = [name_of(target) for target in targets]
    if name is not None and len(targets) > 1:
        raise InvalidArgument(f"expected one target with --name, got {len(targets)}")
    for one in names:
        if names.count(one) > 1:
            raise InvalidArgument(f"expected targets of different names, got {one} more than once")
    if threads is not None:
        if threads < 1:
            raise InvalidArgument(f"expected --threads of at least 1, got {threads}")
        torch.set_num_threads(threads)
    if data is not None:
        settings["data"] = data
    parts = [("" if part == "train" else f"-{part}", {"split": part}) for part in splits] or [("", {})]
    wanted = [
        (target, checkpoint, f"{name or checkpoint}{end}", {**settings, **part, "device": device})
        for end, part in parts
        for target, checkpoint in zip(targets, names, strict=True)
    ]
    for target, _, _, asked in wanted[1:]:
        _loaded(target, usual_users, asked)
    for target, checkpoint, record, asked in wanted:
        yield checkpoint, record, _loaded(target, usual_users, asked)


def _loaded(target: str, usual_users: int | None, settings: dict[str, Any]) -> "Objective":
    from landscape.targets import load_objective

    if usual_users is not None and settings.get("users") is None:
        try:
            return load_objective(target, **{**settings, "users": usual_users})
        except LandscapeError:  # too many, or no such setting; anything else is raised again
            pass
    return load_objective(target, **settings)


def name_of(target: str) -> str:
    """What a target is called in a store: the end of its path, or the function's name."""
    where = target.partition(":")[2] or target
    return Path(where).name or where


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of "0.01,0.1,1"; an empty text is no number."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InvalidArgument(f"expected numbers separated by commas for {option}, got {text!r}") from None


def cost_of(step: Callable[[], object]) -> dict[str, float]:
    """Seconds of one step, and the most memory this process has used so far, in MiB."""
    started = time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    return {"seconds_a_step": seconds, "memory_mib": peak_memory_mib()}
