"""Raw logs: the memory and time of converting many rows, and the time of the k-core.

    python benchmarks/data.py                # 20 million rows as CSV and Parquet, some 2 GB in a temporary folder
    python benchmarks/data.py --rows 2e6     # a look

Each conversion is the command `samrec data prepare` in a process of its own; its peak is VmHWM of that process, read
when it ends. Leaves with 1 if a bar is missed or two formats of one log disagree.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from timing import Table

from samrec.data.kcore import k_core

PIECE = 2_000_000
COMMAND = (
    "import atexit, sys; from landscape.memory import peak_memory_mib; "
    "atexit.register(lambda: print('peak', peak_memory_mib(), file=sys.stderr)); "
    "from samrec.cli.main import main; main()"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=20_000_000)
    parser.add_argument("--formats", default="csv,parquet", help="out of csv, quoted.csv, parquet, amazon")
    options = parser.parse_args()
    table = Table()
    table.head()
    time_k_core(table)
    texts = set()
    with tempfile.TemporaryDirectory() as folder:
        for form in options.formats.split(","):
            raw = Path(folder) / {"amazon": "reviews.json"}.get(form, f"log.{form}")
            write_log(raw, form, options.rows)
            texts.add(time_conversion(table, raw, form, options.rows))
            raw.unlink()
    if len(texts) > 1:
        table.failed.append("formats disagree")
        print("the formats of one log gave different texts")
    sys.exit(bool(table.failed))


def time_k_core(table: Table, rows: int = 1_000_000, k: int = 5) -> None:
    users, items, _ = next(drawn(rows))
    users, items = users.astype(np.uint32), items.astype(np.uint32)
    began, wall = time.process_time(), time.perf_counter()
    core = k_core(users, items, k)
    spent, wall = time.process_time() - began, time.perf_counter() - wall
    told = f"{wall:.2f} s on the clock, {core.rounds} rounds, {len(core.rows):,} rows left"
    table.at_most(f"{k}-core of {rows:,} rows", spent, 5, " s", told)


def time_conversion(table: Table, raw: Path, form: str, rows: int) -> str:
    out = raw.parent / "out"
    words = ["data", "prepare", str(raw), "--out", str(out), "--name", "made", "--overwrite"]
    began = time.perf_counter()
    before = os.times()
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True)
    after = os.times()
    seconds = time.perf_counter() - began
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    peak = float(done.stderr.rsplit("peak", 1)[1]) / 1024
    size = raw.stat().st_size / 1e9
    left = next(line.split()[0] for line in done.stdout.splitlines() if " left: " in line)
    told = f"{size:.2f} GB, {seconds:.0f} s on the clock, {spent:.0f} s of processors, {left} rows left"
    table.at_most(f"{rows:,} rows of {form}: peak memory", peak, 4, " GiB", told)
    return hashlib.sha256((out / "made.txt").read_bytes()).hexdigest()


def drawn(rows: int, piece: int = PIECE) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Users, items and seconds: long tails on both sides, a tenth as many users as rows, a fiftieth as many items."""
    rng = np.random.default_rng(0)
    for start in range(0, rows, piece):
        count = min(piece, rows - start)
        users = (rng.pareto(1.2, count) * rows / 60).astype(np.int64) % max(1, rows // 10)
        items = (rng.pareto(1.0, count) * rows / 400).astype(np.int64) % max(1, rows // 50)
        yield users, items, rng.integers(1_000_000_000, 1_400_000_000, count)


def write_log(path: Path, form: str, rows: int) -> None:
    """A log whose ids are as long as Amazon's: 14 characters for a user, 10 for an item."""
    if form == "parquet":
        pl.concat(frames(rows)).write_parquet(path)
        return
    with path.open("wb") as file:
        for number, frame in enumerate(frames(rows)):
            if form == "amazon":
                keys = {"user": "reviewerID", "item": "asin", "timestamp": "unixReviewTime", "rating": "overall"}
                words = pl.lit("a review of some length, as reviews are, " * 4).alias("reviewText")
                frame.rename(keys).with_columns(words).write_ndjson(file)
            else:
                style = "always" if form == "quoted.csv" else "necessary"
                frame.write_csv(file, include_header=number == 0, quote_style=style)


def frames(rows: int) -> Iterator[pl.DataFrame]:
    for users, items, seconds in drawn(rows):
        user = "A" + pl.col("user").cast(pl.String).str.pad_start(13, "0")
        item = "B" + pl.col("item").cast(pl.String).str.pad_start(9, "0")
        frame = pl.DataFrame({"user": users, "item": items, "timestamp": seconds, "rating": users % 5 + 1})
        yield frame.with_columns(user.alias("user"), item.alias("item"))


if __name__ == "__main__":
    main()
