"""Interactions as a file of the S3-Rec text format, with their attributes beside it."""

import json
from pathlib import Path

from samrec.data.interactions import Interactions
from samrec.data.s3rec_text import attributes_path


def write_s3rec_text(interactions: Interactions, path: Path | str) -> None:
    """Reading gives the same back."""
    path = Path(path)
    rows = (
        " ".join(map(str, [user, *interactions.sequence(row).tolist()]))
        for row, user in enumerate(interactions.user_ids.tolist())
    )
    path.write_text("\n".join(rows) + "\n")
    known = interactions.attributes
    if known is not None:
        table = {str(item): known.of(item).tolist() for item in range(1, interactions.item_count + 1)}
        attributes_path(path).write_text(json.dumps({item: own for item, own in table.items() if own}))
