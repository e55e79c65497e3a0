"""Timing side by side: alternating runs, medians, and a table of bars that are met or not."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def side_by_side(
    runs: Mapping[str, Callable[[], object]], *, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each, after one run of each that does not count; each round runs all of them in turn."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = clock()
            run()
            seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


@dataclass
class Table:
    """Rows of Markdown, printed as they come."""

    failed: list[str] = field(default_factory=list)

    def head(self) -> None:
        print("| what | measured | bar | |\n| --- | --- | --- | --- |", flush=True)

    def row(self, what: str, measured: str, bar: str = "", met: bool | None = None) -> None:
        """`met` is None where there is no bar."""
        if met is False:
            self.failed.append(what)
        verdict = "" if met is None else "pass" if met else "**FAIL**"
        print(f"| {what} | {measured} | {bar} | {verdict} |", flush=True)

    def at_most(self, what: str, value: float, bar: float, unit: str, measured: str = "") -> None:
        """A row whose bar is an upper limit."""
        shown = f"{value:.3g}{unit}"
        self.row(what, f"{shown} ({measured})" if measured else shown, f"at most {bar:g}{unit}", value <= bar)

    def verdict(self) -> int:
        """Say which bars were missed; 1 if any was, 0 otherwise."""
        print(f"\n{'missed: ' + ', '.join(self.failed) if self.failed else 'every bar is met'}")
        return 1 if self.failed else 0
