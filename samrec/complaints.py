"""Validation errors of pydantic in our own words: one line that says what was expected and what came."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

EXPECTED: Mapping[str, str] = {  # by pydantic's name of the error; its context fills the braces
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "extra_forbidden": "no field of this name",
    "finite_number": "a finite number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


def complaint(error: ValidationError) -> str:
    """One line for the first thing that is wrong."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    said = _said(first["type"], first["msg"], first.get("ctx", {}), first["input"])
    return f"{where}: {said}" if where else said


def _said(kind: str, message: str, context: Mapping[str, Any], value: Any) -> str:
    if kind == "missing":
        return "expected a value, got none"
    if kind == "value_error":  # of our own validators, in our own words already
        said = message.removeprefix("Value error, ")
        return said if "got " in said or isinstance(value, Mapping) else f"{said}, got {value!r}"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind].format_map(context)}, got {value!r}"
    return f"{message}, got {value!r}"
