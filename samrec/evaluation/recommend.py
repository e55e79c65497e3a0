"""The k best next items of histories, with the user's own ids, in memory or as a Parquet file.

A file has one row a recommendation: user, rank (from 1), item, score; users in the order asked for.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from landscape.progress import progress
from landscape.whole_files import written_whole
from samrec.errors import ConfigError, RunError
from samrec.evaluation.histories import Histories
from samrec.evaluation.own_ids import OwnIds
from samrec.evaluation.scoring import Encoder
from samrec.evaluation.top_items import top_items


@dataclass(frozen=True, slots=True)
class Recommendations:
    """The best items of each user, the best first; 16 bytes a recommendation."""

    users: list[str]
    items: Int64[np.ndarray, "users k"]  # 0 where a user has fewer candidates
    scores: Float64[np.ndarray, "users k"]


def recommend(
    model: Encoder,
    histories: Histories,
    item_count: int,
    *,
    k: int = 10,
    keep_seen: bool = False,
    chunk: int | None = None,
) -> Recommendations:
    """Exact, equal scores by lower id; items of a history are left out unless `keep_seen`. See `top_items`."""
    inputs = histories.newest(model.max_length)
    items, scores = [], []
    with progress("recommending", total=len(histories.users)) as advance:
        for best in top_items(
            model,
            inputs,
            (histories.items, histories.offsets),
            item_count,
            k,
            keep_seen=keep_seen,
            chunk=chunk,
        ):
            items.append(best.items)
            scores.append(best.scores)
            advance(len(best.items))
    return Recommendations(histories.users, np.concatenate(items), np.concatenate(scores))


def write_parquet(found: Recommendations, path: Path, ids: OwnIds) -> int:
    """Write aside, fsync, rename; returns how many rows.

    Raises:
        ConfigError: a name that does not end in .parquet.
        RunError: the file cannot be written; what was there before is unchanged.
    """
    import polars as pl

    check_name(path)
    there = found.items > 0
    counts = there.sum(axis=1)
    table = pl.DataFrame(
        {
            "user": pl.Series(found.users).gather(np.repeat(np.arange(len(counts)), counts)),
            "rank": (np.nonzero(there)[1] + 1).astype(np.int32),
            "item": pl.Series(ids.own(found.items[there].tolist())),
            "score": found.scores[there],
        }
    )
    try:
        with written_whole(path) as file:
            table.write_parquet(file)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; the file there before is unchanged") from None
    return len(table)


def check_name(path: Path) -> None:
    """Refuse, before anything is computed, a file whose name promises another format."""
    if path.suffix != ".parquet":
        raise ConfigError(f"expected a file name ending in .parquet, got {path}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"expected a folder that exists for {path.name}, got {path.parent}")
