"""`samrec sweep`: a named experiment over seeds: trained, evaluated, measured, as tables and figures; resumable."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit
from samrec.cli.options import DataDir, Device, Json

if TYPE_CHECKING:
    from samrec.experiments.cells import Study
    from samrec.experiments.study_folder import StudyFolder
    from samrec.experiments.sweep import Outcome

# what a shell offers, said again because the studies themselves take torch to load
NAMED = (
    *("sam", "rho", "data-fraction", "dropout", "weight-decay", "l2", "regularisers", "loss", "sam-family", "methods"),
    "grid",
)


def sweep(
    study: Annotated[
        str | None,
        typer.Argument(help="A named study, or grid with --vary; --list tells them.", autocompletion=lambda: [*NAMED]),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder: a run folder a setting and seed.")] = None,
    data: Annotated[str | None, typer.Option(help="A data set's name, or a file in the S3-Rec text format.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "1,2,3",
    vary: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE,VALUE,...; again for more. The first ones are the baseline.")
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE for every run, such as epochs=50; again for more.")
    ] = None,
    pretrained: Annotated[
        list[Path] | None,
        typer.Option(help="For cells of S3-Rec: a run of samrec pretrain, or a folder of them; again for more."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs side by side, in processes of one thread.")] = 1,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure curvature, sharpness and the generalisation gap.")
    ] = False,
    robust: Annotated[bool, typer.Option("--robust", help="Also rank on noisy and on shortened histories.")] = False,
    users: Annotated[int, typer.Option(min=1, help="Users for curvature and sharpness.")] = 2048,
    loss: Annotated[
        str | None,
        typer.Option(help="Loss for curvature and sharpness; the one all runs are trained with by default, else ce."),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to an eigenvalue.")] = 1e-3,
    max_products: Annotated[int, typer.Option(min=1, help="Hessian products at most, for each run.")] = 500,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of measured users, negatives, starts and noise.")
    ] = 0,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="A folder whose finished runs are taken instead of trained again; again for more."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Settings to train this time, by commas, as their folders are called; the rest waits."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Put the study's record there, without weights: small, and enough to go on.")
    ] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Add new seeds to the study that is there.")] = False,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Rebuild tables and figures from the folders; train nothing.")
    ] = False,
    figures: Annotated[bool, typer.Option(help="Draw the figures.")] = True,
    list_studies: Annotated[bool, typer.Option("--list", help="Tell the named studies and their questions.")] = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a study: every setting over every seed, then its tables and figures.

    Interrupted or killed, the same command goes on: what was finished is not repeated. Exit code 3 if a run diverged,
    an eigenvalue did not settle (kept, marked so) or a run without weights was to be measured, 2 if a run failed.

    Example: samrec sweep rho --data Beauty --seeds 1,2,3 --workers 2 --measure --out studies/rho
    """
    from landscape.devices import choose_device
    from samrec.errors import ConfigError
    from samrec.experiments.studies import described_studies
    from samrec.experiments.study_folder import held, open_study

    if list_studies:
        studies = described_studies()
        width = max(map(len, studies))
        emit(as_json, studies, "\n".join(f"{name:{width}}  {question}" for name, question in studies.items()))
        return
    if out is None:
        raise ConfigError("expected --out with the study's folder, got none")
    if tables_only and (data is None or not out.is_dir()):  # a definition may be lost, its run folders not
        open_study(out)
    if (tables_only or export) and data is None:
        there = open_study(out)
        if study not in (None, there.study.name):
            raise ConfigError(f"expected the study of {out}, {there.study.name}, got {study}")
        if export and not tables_only:  # another sweep may be at work there: what it has finished is read alone
            _export(there, export, as_json)
            return
        with held(out):
            _export(there, export)
            _show(there, [], {}, figures=figures, as_json=as_json)
        return
    if study is None or data is None:
        raise ConfigError(f"expected a study and --data, got no {'study' if study is None else '--data'}")
    wanted, fingerprint = _wanted(study, data, data_dir, vary or (), base or (), pretrained or ())
    numbers = _seeds(seeds)
    labels = wanted.labels_of([name.strip() for name in only.split(",")] if only else [])
    choose_device(device)
    if dry_run:
        cost = _cost(wanted, numbers, out, data, data_dir, fingerprint, workers, device, reuse or (), labels)
        emit(as_json, cost, "\n".join(f"{name.replace('_', ' ')}: {_told(value)}" for name, value in cost.items()))
        return
    from samrec.experiments.measure import MeasureSettings
    from samrec.experiments.run_study import carry_out
    from samrec.experiments.study_folder import define
    from samrec.experiments.study_record import begin_record

    settings = MeasureSettings(
        users=users, loss=loss, seed=seed, tolerance=tolerance, max_products=max_products, device=device
    )
    command = command_line("samrec")
    with held(out):
        folder = define(out, wanted, numbers, fingerprint, extend=extend)
        if export:
            begin_record(folder, export)
        outcomes: list[Outcome] = []
        failures: dict[str, str] = {}
        if not tables_only:
            outcomes, failures = carry_out(
                folder,
                data=data,
                data_dir=data_dir,
                workers=workers,
                measure=settings if measure else None,
                robust=robust,
                reuse=reuse or (),
                only=labels,
                device=device,
                seed=seed,
                command=command,
            )
        _export(folder, export)
        _show(folder, outcomes, failures, figures=figures, as_json=as_json)


def _wanted(
    study: str, data: str, data_dir: Path | None, vary: Sequence[str], base: Sequence[str], pretrained: Sequence[Path]
) -> tuple["Study", str]:
    """The study as asked for, and the fingerprint of its data."""
    from samrec.config import make_config
    from samrec.data.catalog import open_data
    from samrec.errors import ConfigError
    from samrec.experiments.pretrainings import read_pretrainings
    from samrec.experiments.studies import FIELDS, S3REC, study_named
    from samrec.models.build import build_losses

    fields: dict[str, Any] = {}
    for name, value in _assignments(base, "--base").items():
        if name in ("data", "seed"):
            raise ConfigError(
                f"expected --{'data' if name == 'data' else 'seeds'} for {name}, got --base {name}={value}"
            )
        fields[name] = _value(value)
    grid = {name: [_value(v) for v in values.split(",")] for name, values in _assignments(vary, "--vary").items()}
    where = str(Path(data).resolve()) if Path(data).is_file() else data
    interactions = open_data(data, data_dir=data_dir)
    shape = {name: fields.get(name, FIELDS[name].default) for name in ("size", "heads", "layers", "max_length")}
    found = read_pretrainings(pretrained, interactions, shape=shape)
    if fields.get("method") == S3REC:
        fields |= found.fields(fields.get("data_fraction", 1.0))
    wanted = study_named(study, make_config(data=where, **fields), grid, found)
    for cell in wanted.cells:
        try:
            build_losses(cell.config, interactions.item_count)
        except ConfigError as error:
            raise ConfigError(f"{cell.label}: {error}") from None
    return wanted, interactions.fingerprint


def _export(folder: "StudyFolder", to: Path | None, as_json: bool | None = None) -> None:
    """The record of a study, where it was asked for; told on stdout where nothing else is, as JSON or not."""
    from samrec.experiments.study_record import export_study

    if to is None:
        return
    names = export_study(folder, to)
    text = f"{to}: the record of {len(names)} of {len(folder.runs)} runs, without weights"
    if as_json is None:
        print(text, file=sys.stderr)
    else:
        emit(as_json, {"folder": to, "runs": names, "of": len(folder.runs)}, text)


def _show(
    folder: "StudyFolder", outcomes: Sequence["Outcome"], failures: dict[str, str], *, figures: bool, as_json: bool
) -> None:
    """Write tables, draw figures, print, and leave with the code the outcomes ask for."""
    from samrec.errors import RunError
    from samrec.experiments.measure import NO_WEIGHTS
    from samrec.experiments.study_figures import draw_study, rebuild_tables
    from samrec.experiments.table import rich_tables

    values, sections, tables = rebuild_tables(folder)
    drawn = draw_study(folder) if figures else []
    bare = [run for run, why in failures.items() if why == NO_WEIGHTS]
    ended = {outcome.run for outcome in outcomes}
    waiting = [planned.name for planned in folder.runs if outcomes and planned.name not in ended]
    failures = {run: why for run, why in failures.items() if why != NO_WEIGHTS}
    runs = [{"run": run.name, "cell": run.planned.cell, "seed": run.planned.seed, "status": run.status,
             "stopped": run.record.get("stopped"), "values": dict(run.values)} for run in values.runs]  # fmt: skip
    payload = {
        "study": folder.study.name,
        "notes": list(folder.study.notes),
        "folder": folder.path,
        "trained": [outcome.run for outcome in outcomes if outcome.worked],
        "waiting": waiting,
        "runs": runs,
        "tables": {section.title: [section.header, *section.rows] for section in sections},
        "files": [*tables, *drawn],
        "failed": {outcome.run: outcome.message for outcome in outcomes if outcome.status == "failed"} | failures,
        "without_weights": bare,
        "unsettled": values.unsettled,
        "measured_on": values.measured_loss.record if values.measured_loss else None,
    }
    emit(as_json, payload, rich_tables(sections))
    if not as_json:
        if outcomes:
            ready = sum(not outcome.worked for outcome in outcomes)
            print(f"trained  {len(outcomes) - ready} of {len(folder.runs)} runs; {ready} had ended before")
        print(f"tables   {folder.path / 'tables'}\nstore    {folder.store}")
        if drawn:
            print(f"figures  {folder.path / 'figures'}")
    for outcome in outcomes:
        if outcome.status != "finished":
            print(f"{outcome.run} {outcome.status}: {outcome.message}", file=sys.stderr)
            if outcome.bug:
                print(outcome.bug, file=sys.stderr)
    for run, why in failures.items():
        print(f"{run} not measured: {why}", file=sys.stderr)
    if waiting:
        print(f"not trained this time: {', '.join(waiting)}", file=sys.stderr)
    if bare:
        print(f"not measured, as their weights are not here: {', '.join(bare)}", file=sys.stderr)
    if values.unsettled:
        print(f"did not settle: {', '.join(values.unsettled)}", file=sys.stderr)
    if failed := [outcome.run for outcome in outcomes if outcome.status == "failed"] + list(failures):
        if any(outcome.bug for outcome in outcomes):
            raise RuntimeError(f"bugs in {', '.join(outcome.run for outcome in outcomes if outcome.bug)}, see above")
        raise RunError(f"expected every run to come to its end, got {len(failed)} that failed: {', '.join(failed)}")
    if bare or values.unsettled or any(run.status == "diverged" for run in values.runs):
        raise typer.Exit(DID_NOT_SETTLE)


def _cost(
    study: "Study",
    seeds: Sequence[int],
    out: Path,
    data: str,
    data_dir: Path | None,
    fingerprint: str,
    workers: int,
    device: str,
    reuse: Sequence[Path],
    only: Sequence[str],
) -> dict[str, Any]:
    """What a sweep would take to the caps, from two steps of every cell on one thread."""
    import torch

    from landscape.devices import choose_device
    from samrec.data.catalog import open_data
    from samrec.experiments.reuse import runs_elsewhere
    from samrec.experiments.study_folder import StudyFolder
    from samrec.experiments.sweep import done
    from samrec.training.cost import estimate_cost

    torch.set_num_threads(1)
    folder = StudyFolder(out, study, tuple(seeds), fingerprint)
    taken = {found.planned.name: found.place for found in runs_elsewhere(folder, reuse)}
    left = [planned for planned in folder.runs if planned.name not in taken and done(folder, planned) is None]
    left = [planned for planned in left if not only or planned.cell in only]
    interactions = open_data(data, data_dir=data_dir)
    seconds: dict[str, float] = {}
    gradients: dict[str, int] = {}
    for cell in study.cells:
        if cell.label in {planned.cell for planned in left}:
            cost = estimate_cost(cell.config, interactions, device=choose_device(device))
            seconds[cell.label] = cost["seconds_an_epoch_without_validation"]
            gradients[cell.label] = cost["gradients_to_the_cap"]
    total = sum(seconds[planned.cell] * planned.config.epochs for planned in left)
    return {
        "study": study.name,
        "runs": len(folder.runs),
        "runs_left": len(left),
        **({"runs_taken": taken} if taken else {}),
        "fields_that_vary": list(study.varies),
        **({"notes": list(study.notes)} if study.notes else {}),
        "seconds_an_epoch_without_validation": seconds,
        "gradients_to_the_caps": sum(gradients[planned.cell] for planned in left),
        "hours_to_the_caps_at_most": round(total / workers / 3600, 3),
    }


def _seeds(text: str) -> list[int]:
    from samrec.errors import ConfigError
    from samrec.experiments.study_folder import check_seeds

    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"expected whole numbers separated by commas for --seeds, got {text!r}") from None
    check_seeds(seeds)
    return seeds


def _assignments(texts: Sequence[str], option: str) -> dict[str, str]:
    """Values by field, each named once."""
    from samrec.errors import ConfigError

    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise ConfigError(f"expected FIELD=VALUE for {option}, got {text!r}")
        if name in found:
            raise ConfigError(f"expected each field once for {option}, got {name}={found[name]} and {name}={value}")
        found[name] = value
    return found


def _value(text: str) -> Any:
    """A number, true, false or null as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {what if isinstance(what, str) else f'{what:,.3g}'}" for name, what in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, str) else f"{value:,}"
