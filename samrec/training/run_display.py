"""A run in brief, as a notebook shows it: what it is, how it ended, and its best and last epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

from landscape.display import Display, SortableTable

COLUMNS = {"epoch": "epoch", "loss": "loss", "weight_norm": "‖w‖", "sharpness": "SAM's sharpness"}


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says in a line."""
    config, cost = record["config"], record.get("cost") or {}
    stopped = record.get("stopped")
    return {
        "method": config.get("method"),
        "rho": config.get("rho") or None,
        "seed": config.get("seed"),
        "data": config.get("data"),
        "status": f"{record['status']} ({stopped})" if stopped and stopped != record["status"] else record["status"],
        "epochs": cost.get("epochs"),
        "gradients": cost.get("gradients"),
    }


def run_display(kind: str, name: str, record: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Display:
    """The run with a row for its best epoch, where it has one, and for its last."""
    best = (record.get("best") or {}).get("epoch")
    chosen = [("best", entry) for entry in history if entry["epoch"] == best]
    chosen += [("last", entry) for entry in history[-1:]]
    scores = {name: None for _, entry in chosen for name in _scores(entry)}
    own = {key: title for key, title in COLUMNS.items() if any(entry.get(key) is not None for _, entry in chosen)}
    rows = [
        (label, *(entry.get(key) for key in own), *(_scores(entry).get(name) for name in scores))
        for label, entry in chosen
    ]
    table = SortableTable("", ("", *own.values(), *scores), tuple(rows))
    return Display(kind, name, facts_of(record), (table,) if rows else ())


def _scores(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Scores on validation, or each loss of a pre-training."""
    return {
        **{f"validation {name}": value for name, value in entry.get("validation", {}).items()},
        **{name.upper(): value for name, value in entry.get("losses", {}).items()},
    }
