"""`samrec evaluate`: scores of a run, printed and kept in its folder, and what stands behind and beside them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.cli.running import LARGEST_SEED
from samrec.cli.options import DataDir, DataNow, Device, Json, Threads


class Split(StrEnum):
    """Which item of every sequence is the target."""

    test = "test"
    validation = "validation"


class By(StrEnum):
    """What strata are of."""

    length = "length"
    popularity = "popularity"


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, as samrec train or samrec import make it.")],
    split: Annotated[Split, typer.Option(help="The last item of every sequence, or the one before.")] = Split.test,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Rank items of the user's history too, instead of masking them.")
    ] = False,
    sampled: Annotated[
        int | None,
        typer.Option(min=1, help="Rank among so many sampled negatives (99 is customary) instead of all items."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the sampled negatives.")] = 0,
    by: Annotated[
        list[By] | None, typer.Option(help="Scores of parts: by length of the history, by popularity of the target.")
    ] = None,
    beyond: Annotated[
        int | None, typer.Option(min=1, help="Coverage, Gini and popularity of everybody's best so many items.")
    ] = None,
    data: DataNow = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Rank every user's target against all items: HR@k, NDCG@k and MRR with standard errors.

    Where others published scores of the same data, model, loss and protocol, it says whether these lie inside, above or
    below theirs. Sampled ranking is another protocol: its scores are higher and stand in no table with the others.

    Example: samrec evaluate runs/beauty --by length --by popularity --beyond 10
    """
    import torch

    from landscape.cli.running import emit
    from landscape.devices import choose_device
    from samrec.cli.evaluation_text import tables
    from samrec.errors import ConfigError, NotWritable
    from samrec.evaluation.beyond_accuracy import beyond_accuracy, check_k
    from samrec.evaluation.evaluate import evaluate_run, keep_evaluation
    from samrec.evaluation.held_out import held_out
    from samrec.evaluation.protocol import Candidates
    from samrec.evaluation.reference_book import Ended, look_up
    from samrec.evaluation.strata import strata_by_head, strata_by_length, strata_by_popularity
    from samrec.training.checkpoint import Run

    if beyond is not None and sampled is not None:
        raise ConfigError("expected --beyond without --sampled: the lists are those of full ranking")
    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    folder = Run(run)
    interactions = folder.data(data, data_dir=data_dir)
    if beyond is not None:
        check_k(beyond, interactions.item_count)
    result = evaluate_run(
        folder,
        split.value,
        keep_seen=keep_seen,
        candidates=Candidates(sampled, seed),
        interactions=interactions,
        device=chosen,
        keep=False,
    )
    try:
        keep_evaluation(result, folder.path)
    except NotWritable as error:
        typer.echo(f"not kept: {error}", err=True)
    status = folder.record["status"]
    if status in ("running", "diverged"):
        ended = "had not ended" if status == "running" else "diverged"
        typer.echo(f"the training of {run} {ended}: these are the scores of its best weights until then", err=True)
    payload: dict[str, Any] = {**result.summary(), "training": status}
    parts = held_out(interactions, split.value, folder.config.max_length, holdout=folder.config.holdout)
    if by:
        payload["strata"] = strata = {}
        if By.length in by:
            strata["length"] = strata_by_length(result.ranks, parts)
        if By.popularity in by:
            strata["head_tail"] = strata_by_head(result.ranks, parts)
            strata["popularity"] = strata_by_popularity(result.ranks, parts)
    if beyond is not None:
        model = folder.load_model("best").to(chosen)
        payload["beyond_accuracy"] = beyond_accuracy(model, parts, k=beyond, keep_seen=keep_seen)
    how = Ended(status, folder.record.get("stopped"))
    config = folder.config.model_dump()
    published = look_up(config, result.conditions, result.metrics, result.standard_errors, ended=how)
    if published is not None:
        payload["published"] = published
    emit(json, payload, None if json else tables(result, payload))
