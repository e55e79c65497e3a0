"""For the API reference: a comment behind a field, `name: str  # what it is`, counts as the field's docstring."""

import io
import tokenize
from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """Looks at fields of classes that have no docstring of their own."""

    def on_attribute(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Take the comment that stands behind the field's first line."""
        del kwargs
        if attr.docstring is None and attr.parent is not None and attr.parent.is_class and attr.lineno is not None:
            comment = trailing_comment(attr.source.partition("\n")[0])
            if comment:
                attr.docstring = griffe.Docstring(comment, parent=attr)


def trailing_comment(line: str) -> str:
    """The text of a comment behind code, or nothing."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ").strip()
    except tokenize.TokenError:  # the line goes on below
        pass
    return ""
