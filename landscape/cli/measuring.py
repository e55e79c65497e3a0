"""What the measuring commands share: targets opened as objectives, their names, lists of numbers, cost of a step."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import InvalidArgument
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
    **settings: Any,
) -> Iterator[tuple[str, str, "Objective"]]:
    """For each target the checkpoint's name, the record's name and the objective, one at a time.

    The ones after the first are opened before it too, so that one that cannot be is refused before hours of measuring.
    `data` is passed on only where it was given: a target that cannot look elsewhere for its data then refuses it.

    Raises:
        InvalidArgument: `name` for several targets, or two targets that would share a name.
    """
    import torch

    from landscape.targets import load_objective

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
    for target in targets[1:]:
        load_objective(target, device=device, **settings)
    for target, checkpoint in zip(targets, names, strict=True):
        yield checkpoint, name or checkpoint, load_objective(target, device=device, **settings)


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
