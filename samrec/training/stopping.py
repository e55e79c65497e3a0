"""When a run stops, and by what."""

from samrec.training.run_folder import Position


def reason_to_stop(position: Position, *, epochs: int, patience: int) -> str | None:
    """ "patience" after `patience` epochs without a better score, "cap" at `epochs`, None to go on."""
    if position.stalled >= patience:
        return "patience"
    return "cap" if position.epoch >= epochs else None
