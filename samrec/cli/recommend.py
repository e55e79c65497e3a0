"""`samrec recommend`: the best next items of a history, or of many users, with the user's own ids."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samrec.cli.options import DataDir, DataNow, Device, Json, Threads

if TYPE_CHECKING:
    from samrec.evaluation.own_ids import OwnIds
    from samrec.evaluation.recommend import Recommendations


def recommend(
    run: Annotated[Path, typer.Argument(help="A run folder, as samrec train or samrec import make it.")],
    history: Annotated[str | None, typer.Option(help="Item ids, oldest first: ID,ID,...")] = None,
    users: Annotated[
        Path | None, typer.Option(help="A file of lines 'user item item ...', or of user ids of the training data.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Items for each user.")] = 10,
    out: Annotated[Path | None, typer.Option(help="A .parquet file: user, rank, item, score.")] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Recommend items of the history too, instead of leaving them out.")
    ] = False,
    data: DataNow = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Recommend the next items: exact top-k, equal scores by lower id.

    Ids are your own where an id map lies beside the data (samrec data prepare makes one), else those of the data file.

    Example: samrec recommend runs/beauty --history 12,7,301 --top 5
    """
    import torch

    from landscape.cli.running import emit
    from landscape.devices import choose_device
    from samrec.errors import ConfigError
    from samrec.evaluation.histories import read_histories, typed_history
    from samrec.evaluation.own_ids import own_ids
    from samrec.evaluation.recommend import check_name, write_parquet
    from samrec.evaluation.recommend import recommend as recommended
    from samrec.training.checkpoint import Run

    if (history is None) == (users is None):
        raise ConfigError("expected either --history ID,ID,... or --users FILE")
    if out is not None:
        check_name(out)
    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    folder = Run(run)
    interactions = folder.data(data, data_dir=data_dir)
    items = own_ids(interactions, "items")
    if users is None:
        histories = typed_history(history or "", items)
    else:
        histories = read_histories(users, interactions, items=items, users=own_ids(interactions, "users"))
    model = folder.load_model("best").to(chosen)
    found = recommended(model, histories, interactions.item_count, k=top, keep_seen=keep_seen)
    payload: dict[str, Any] = {"run": folder.name, "users": len(histories.users), "top": top}
    if out is not None:
        payload |= {"rows": write_parquet(found, out, items), "out": str(out)}
        emit(json, payload, f"{payload['rows']:,} recommendations for {payload['users']:,} users -> {out}")
        return
    rows = _rows(found, items)
    if users is None:  # a history alone is nobody's
        rows = [{**row, "user": None} for row in rows]
    emit(json, {**payload, "recommendations": rows}, "\n".join(_told(row, alone=users is None) for row in rows))


def _rows(found: "Recommendations", ids: "OwnIds") -> list[dict[str, Any]]:
    there = found.items > 0
    own = list(ids.own(found.items[there].tolist()))
    scores = found.scores[there].tolist()
    ends = there.sum(axis=1).cumsum().tolist()
    return [
        {"user": user, "items": own[start:end], "scores": scores[start:end]}
        for user, start, end in zip(found.users, [0, *ends], ends, strict=False)
    ]


def _told(row: dict[str, Any], *, alone: bool) -> str:
    if alone:
        return "\n".join(f"{item}  {score:.4f}" for item, score in zip(row["items"], row["scores"], strict=True))
    return " ".join(map(str, [row["user"], *row["items"]]))
