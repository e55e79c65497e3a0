"""Who takes part in a comparison: runs grouped into methods, and which run of one is paired with which of another.

A method is what runs share that differ in their seed alone; a seed has one run, as the copy of a run is no other seed.
What was imported does not tell its seed, so each is a method of its own. The first run's method is the baseline.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samrec.errors import ConfigError, ProtocolMismatch, RunError
from samrec.fingerprints import fingerprint
from samrec.training.checkpoint import Run


@dataclass(frozen=True, slots=True)
class Member:
    """A run and its place in the comparison."""

    name: str  # unique here; the checkpoint's name in the store
    method: str  # what tables call its group
    seed: int
    run: Run
    stopped: str  # "patience", "cap", "diverged"; empty where the run's record does not say


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members that are compared user by user."""

    a: Member
    b: Member


def open_members(folders: Sequence[Path]) -> list[Member]:
    """Open finished runs of one data set, in the order given.

    Raises:
        ConfigError: fewer than two runs, one of them twice, or two of one method and seed.
        RunError: a folder without a run, or with one that is not finished.
        ProtocolMismatch: runs of different data.
    """
    if len(folders) < 2:
        raise ConfigError(f"expected at least two runs to compare, got {len(folders)}")
    resolved = [Path(folder).resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path, count in Counter(resolved).items() if count > 1)
        raise ConfigError(f"expected different runs, got {twice} twice")
    runs = [Run(path) for path in resolved]
    for run in runs:
        if run.record.get("status") == "running":
            raise RunError(f"expected a finished run in {run.path}: resume it first")
        data, first = run.record["fingerprints"]["data"], runs[0].record["fingerprints"]["data"]
        if data != first:
            raise ProtocolMismatch(
                f"expected runs of one data set, got {runs[0].path} ({first[:12]}) and {run.path} ({data[:12]})"
            )
    names = short_names(resolved)
    methods = _method_names(runs, names)
    members = [
        Member(name, methods[_group(run)], run.config.seed, run, str(run.record.get("stopped") or ""))
        for name, run in zip(names, runs, strict=True)
    ]
    _check_seeds(members)
    return members


def methods_of(members: Sequence[Member]) -> dict[str, list[Member]]:
    """The members of each method, by seed; the baseline first."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.method, []).append(member)
    return {method: sorted(group, key=lambda member: member.seed) for method, group in groups.items()}


def pairs_of(baseline: Sequence[Member], others: Sequence[Member]) -> list[Pair]:
    """Runs of the same seed. Empty where no seed is shared: nothing but their users is paired then."""
    by_seed = {member.seed: member for member in baseline}
    return [Pair(by_seed[member.seed], member) for member in others if member.seed in by_seed]


def without_partner(members: Sequence[Member], others: Sequence[Member]) -> list[int]:
    """The seeds of a method that the other one has no run of."""
    theirs = {member.seed for member in others}
    return [member.seed for member in members if member.seed not in theirs]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Names of different folders, with as many parents in front as it takes to tell them apart."""
    depth = 1
    while True:
        names = ["-".join(path.parts[-depth:]).replace("/", "") for path in paths]
        if len(set(names)) == len(names) or depth > max(len(path.parts) for path in paths):
            return names
        depth += 1


def _check_seeds(members: Sequence[Member]) -> None:
    """Refuse a second run of a seed: over seeds it would count as one more."""
    there: dict[tuple[str, int], Member] = {}
    for member in members:
        first = there.setdefault((member.method, member.seed), member)
        if first is not member:
            raise ConfigError(
                f"expected one run of a seed, got {first.run.path} and {member.run.path}, both {member.method} of seed "
                f"{member.seed}"
            )


def _group(run: Run) -> str:
    method = fingerprint(run.config.without_seed)  # not the record's: it lacks the options that came after the run
    return f"{method} {run.path}" if "imported" in run.record else method


def _method_names(runs: Sequence[Run], run_names: Sequence[str]) -> dict[str, str]:
    """A name for each group: the configuration's own, and where two share it, the fields in which they differ.

    Imported ones may differ in none: they have the run's name too.
    """
    own = {_group(run): name for run, name in zip(runs, run_names, strict=True)}
    first = {_group(run): run for run in reversed(runs)}
    shared = Counter(run.config.name for run in first.values())
    names = {}
    for group, run in first.items():
        name = run.config.name
        alike = [other.config.without_seed for other in first.values() if other.config.name == name]
        if shared[name] > 1:
            fields = run.config.without_seed
            different = [key for key in fields if key != "data" and len({str(other[key]) for other in alike}) > 1]
            told = [f"{key} {fields[key]}" for key in different]
            if "imported" in run.record or not told:
                told.append(own[group])
            name = f"{name}, {', '.join(told)}"
        names[group] = name
    return names
