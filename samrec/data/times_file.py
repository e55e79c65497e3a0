"""When each interaction of a NAME.txt happened: NAME_times.parquet beside it, a row an interaction in the same order.

Three columns: `user` and `item` as in the text, which proves that both belong together, and `time`, a timestamp in UTC
with microseconds. Time splits need it; nothing else does.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from samrec.errors import DataError


def times_path(text: Path) -> Path:
    """Where the times of NAME.txt are."""
    return text.with_name(f"{text.stem}_times.parquet")


def read_times(
    path: Path, users: Int64[np.ndarray, " interactions"], items: Int64[np.ndarray, " interactions"]
) -> Int64[np.ndarray, " interactions"]:
    """Microseconds since 1970 UTC of these interactions; DataError if the file speaks of others."""
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    if table.columns != ["user", "item", "time"] or not isinstance(table.schema["time"], pl.Datetime):
        raise DataError(
            f"{path}: expected the columns user, item and time (timestamps), got {', '.join(table.columns)}"
        )
    if not (np.array_equal(table["user"], users) and np.array_equal(table["item"], items)):
        raise DataError(f"{path}: holds times of other interactions than the text beside it; prepare both again")
    if table["time"].null_count():
        raise DataError(f"{path}: expected a time in every row, got {table['time'].null_count():,} without")
    return np.array(table["time"].dt.timestamp("us"), dtype=np.int64)


def write_times(
    path: Path,
    users: Int64[np.ndarray, " interactions"],
    items: Int32[np.ndarray, " interactions"],
    times: Int64[np.ndarray, " interactions"],
) -> None:
    """Write to exactly this path."""
    import polars as pl

    stamps = pl.Series("time", times).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"user": users.astype(np.int32), "item": items, "time": stamps}).write_parquet(path)
