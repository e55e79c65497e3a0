"""The options that `samrec train` and `samrec pretrain` share, and what both do before and after their own work."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli.running import emit, one_of
from samrec.cli.options import DataDir, Device, Threads
from samrec.stage_config import StageConfig

if TYPE_CHECKING:
    import torch

    from samrec.data.interactions import Interactions

__all__ = ["DataDir", "Device", "Threads"]  # as other commands have them

Data = Annotated[str, typer.Option(help="A data set's name, or a file in the S3-Rec text format.")]
Out = Annotated[Path, typer.Option(help="The run folder to make.")]
Negatives = Annotated[
    str,
    typer.Option(
        **one_of("training", "s3rec"),
        help="Items a negative may not be: training, or s3rec (validation and test item too).",
    ),
]
Dropout = Annotated[float, typer.Option(help="On hidden states and attention probabilities.")]
Size = Annotated[int, typer.Option(help="Width of the hidden states.")]
Heads = Annotated[int, typer.Option(help="Attention heads.")]
Layers = Annotated[int, typer.Option(help="Transformer blocks.")]

Rho = Annotated[float, typer.Option(help="Radius of SAM's ascent; 0 is the base optimizer.")]
Sam = Annotated[bool, typer.Option("--sam", help="Take SAM's two passes even at rho 0.")]
SamGroup = Annotated[
    str, typer.Option(**one_of("all", "body", "embeddings"), help="What the ascent perturbs: all, body or embeddings.")
]
SamDropout = Annotated[
    str, typer.Option(**one_of("replayed", "fresh"), help="Masks of the second pass: replayed or fresh.")
]
SamPeriod = Annotated[int, typer.Option(help="Climb at every k-th step only; 5 to 10 for LookSAM.")]
SamBetween = Annotated[
    str,
    typer.Option(**one_of("look", "plain"), help="The steps between: look (LookSAM) or plain (the base optimizer's)."),
]
SamAlpha = Annotated[float, typer.Option(help="LookSAM's weight of the direction it kept.")]
Asam = Annotated[bool, typer.Option("--asam", help="Scale the ascent by |w|; its rho is .5 to 2.")]
AsamEta = Annotated[float, typer.Option(help="Added to |w| there.")]
RhoSchedule = Annotated[
    str,
    typer.Option(
        **one_of("constant", "linear", "cosine", "step"), help="constant, linear (a warm-up), cosine (a decay) or step."
    ),
]
RhoEpochs = Annotated[int | None, typer.Option(help="The schedule's length; for cosine --epochs by default.")]
RhoFactor = Annotated[float, typer.Option(help="What step multiplies by after every length.")]

Optimizer = Annotated[str, typer.Option(**one_of("adam", "adamw", "sgd"), help="adam, adamw or sgd; SAM's base.")]
LearningRate = Annotated[float, typer.Option(help="The optimizer's.")]
Momentum = Annotated[float, typer.Option(help="SGD's.")]
WeightDecay = Annotated[float, typer.Option(help="Decoupled, of adamw and sgd: not seen by the ascent.")]
L2 = Annotated[float, typer.Option(help="l2 / 2 ||w||^2 in the loss: seen by the ascent.")]

Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out from its last epoch.")]
Tensorboard = Annotated[
    Path | None, typer.Option(help="Write TensorBoard's scalars into this folder too; takes the package tensorboard.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Sequences too short are an error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the run's record as JSON.")]


def defaults_of(config: type[StageConfig]) -> Any:
    """The defaults of a configuration's fields, as attributes: what an option that is not given stands for."""
    fields = config.model_fields.items()
    return SimpleNamespace(**{name: field.default for name, field in fields if not field.is_required()})


def opened(
    data: str, *, data_dir: Path | None, strict: bool, threads: int | None, device: str
) -> tuple["Interactions", str, "torch.device"]:
    """The interactions, the name or path that a configuration keeps of them, and the device; sets the threads."""
    import torch

    from landscape.devices import choose_device
    from samrec.data.catalog import open_data

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    interactions = open_data(data, data_dir=data_dir, strict=strict)
    return interactions, str(Path(data).resolve()) if Path(data).is_file() else data, chosen


def tell_cost(cost: Mapping[str, Any], *, as_json: bool) -> None:
    """What a dry run found."""
    emit(as_json, cost, "\n".join(f"{name.replace('_', ' ')}: {value:,}" for name, value in cost.items()))


def warn_before(interactions: "Interactions", out: Path, *, resume: bool) -> None:
    """What is worth a word on stderr before a run is begun."""
    if interactions.dropped:
        typer.echo(f"dropped {interactions.dropped:,} sequences of fewer than 3 items", err=True)
    if resume and not (out / "run.json").exists():
        typer.echo(f"no run in {out}: starting one", err=True)
