"""Raw logs made for tests, written in every format, and the slow, obvious way from a log to S3-Rec text."""

import csv
import gzip
import json
from collections import Counter
from datetime import UTC, datetime

import polars as pl
from hypothesis import strategies as st

from samrec.data.raw_logs.layout import find_layout
from samrec.data.raw_logs.read import read_log

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMATS = ("csv", "quoted csv", "tsv", "headless tsv", "parquet", "amazon", "yelp", "jsonl", "dat", "movielens csv")

plain_ids = st.text(st.sampled_from("abAB01_-é漢😀 "), min_size=1, max_size=3).filter(lambda word: word.strip() == word)
awkward_ids = st.text(st.sampled_from('ab,"\n;é'), min_size=1, max_size=3)


def logs(ids=plain_ids, max_rows=60):
    """Lists of (user, item, seconds, rating): few of each, so that there are ties, repeats, and long cascades."""
    names = st.lists(ids, min_size=1, max_size=6, unique=True)
    return st.tuples(names, names).flatmap(
        lambda both: st.lists(
            st.tuples(
                st.sampled_from(both[0]),
                st.sampled_from(both[1]),
                st.integers(0, 5).map(lambda day: day * 86400),
                st.integers(1, 5),
            ),
            min_size=1,
            max_size=max_rows,
        )
    )


def slow_text(rows, k=5, *, duplicates="keep", since=None, until=None, min_rating=None):
    """The S3-Rec text of a log, and the own ids of users and items 1, 2, ...; None where nothing is left."""
    rows = [row for row in rows if (since is None or row[2] >= since) and (until is None or row[2] < until)]
    rows = [row for row in rows if min_rating is None or row[3] >= min_rating]
    if duplicates == "first":
        earliest = {}
        for place, (user, item, time, _) in enumerate(rows):
            if (user, item) not in earliest or time < rows[earliest[user, item]][2]:
                earliest[user, item] = place
        rows = [row for place, row in enumerate(rows) if place in earliest.values()]
    while True:
        of_user, of_item = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        kept = [row for row in rows if of_user[row[0]] >= k and of_item[row[1]] >= k]
        if kept == rows:
            break
        rows = kept
    users, items = {}, {}
    for user, item, _, _ in rows:
        users.setdefault(user, len(users) + 1)
        items.setdefault(item, len(items) + 1)
    if not rows or max(Counter(row[0] for row in rows).values()) < 3:
        return None
    lines = []
    for user, number in users.items():
        own = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])  # a stable sort
        lines.append(" ".join(map(str, [number, *(items[row[1]] for row in own)])))
    return "".join(line + "\n" for line in lines), list(users), list(items)


def write_log(folder, rows, form, broken=()):
    """Write rows in a format; `broken` are (place, line) put in between as they are. Returns the path."""
    lines = [line_of(row, form) for row in rows]
    for place, line in sorted(broken, reverse=True):
        lines.insert(place, line)
    lines = [*header_of(form), *lines]
    name, text = NAMES[form], "".join(line + "\n" for line in lines)
    path = folder / name
    if form == "parquet":
        columns = list(zip(*rows, strict=True))
        frame = pl.DataFrame(dict(zip(("user", "item", "time", "rating"), columns, strict=True)))
        frame.write_parquet(path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


def file_of(folder, name, content):
    """A file of this content, bytes or text."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_log_of(path, block=1 << 24, strict=False, **options):
    """The log in a file whose layout is found out, with these options."""
    return read_log(path, find_layout(path, **options), block=block, strict=strict)


NAMES = {
    "csv": "log.csv",
    "quoted csv": "quoted.csv",
    "tsv": "log.tsv",
    "headless tsv": "bare.tsv",
    "parquet": "log.parquet",
    "amazon": "reviews.json.gz",
    "yelp": "review.json",
    "jsonl": "log.jsonl",
    "dat": "ratings.dat",
    "movielens csv": "ratings.csv",
}
OPTIONS = {"headless tsv": {"header": False}}


def header_of(form):
    """The first line, where there is one."""
    return {
        "csv": ["user_id,title,item_id,rating,timestamp"],
        "quoted csv": ['"user","item","time","rating"'],
        "tsv": ["user_id:token\titem_id:token\trating:float\ttimestamp:float"],
        "movielens csv": ["userId,movieId,rating,timestamp"],
    }.get(form, [])


def line_of(row, form):
    """One interaction in a format."""
    user, item, time, rating = row
    if form == "csv":
        return f"{user},a title,{item},{rating}.0,{time}"
    if form == "quoted csv":
        return _csv_line(user, item, time, rating)
    if form == "tsv":
        return f"{user}\t{item}\t{rating}\t{time}.0"
    if form == "headless tsv":
        return f"{user}\t{item}\t{time}\t{rating}"
    if form == "dat":
        return f"{user}::{item}::{rating}::{time}"
    if form == "movielens csv":
        return f"{user},{item},{rating},{time}"
    if form == "amazon":
        return json.dumps(
            {"reviewerID": user, "asin": item, "reviewText": "so {so}, \"so\"", "overall": float(rating),
             "unixReviewTime": time, "style": {"Size:": " L"}}
        )  # fmt: skip
    if form == "yelp":
        date = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")
        held = {"review_id": "r", "user_id": user, "business_id": item, "stars": float(rating), "date": date}
        return json.dumps(held, ensure_ascii=False)
    return json.dumps({"user": user, "item": item, "time": time, "rating": rating})


def _csv_line(*fields):
    class Line:
        text = ""

        def write(self, text):
            self.text += text

    line = Line()
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow(fields)
    return line.text
