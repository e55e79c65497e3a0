"""How far off a record's Hessian products may be, where they came from central differences: a number and its words.

The number is the largest ||found - Hv|| / ||Hv|| that was stated of any product (`Hessian.relative_error`), and None
where products are exact to rounding. A residual does not know of it: of an eigenvalue, about as much of its size comes
on top.
"""

from collections.abc import Iterable
from typing import Any


def largest_of(*errors: float | None) -> float | None:
    """The largest error stated; None where none is."""
    return max((error for error in errors if error is not None), default=None)


def product_note(error: float | None) -> str:
    """What a reader is told beside the numbers; empty where there is nothing to tell."""
    return "" if error is None else f"Hessian products by central differences, off by up to {error:.1e} of their length"


def as_notes(error: float | None) -> tuple[str, ...]:
    """The words as a sentence below a table, or none."""
    note = product_note(error)
    return (f"{note}.",) if note else ()


def product_notes(records: Iterable[Any]) -> list[str]:
    """A line for each record with such products, by its name."""
    return [f"{one.name}: {note}" for one in records if (note := product_note(one.product_error))]
