"""Re-scalings of a recommender's weights that leave every score as it is: what a sharpness measure should not see.

This post-LayerNorm trunk has three families of them, each with a factor c:

    query-key      a block's query weight and bias times c, its key's by 1/c: attention logits are products of the two
    value-output   a block's value weight and bias times c, its output's weight by 1/c
    tables         item and position table times c, the last LayerNorm's gain and bias by 1/c: the first LayerNorm
                   takes the factor out of the inputs, and the tied scores are last hidden state times item vector

A LayerNorm's gain against the next weight is none: the residual carries the LayerNorm's output past it.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from samrec.errors import ConfigError

Weights = Mapping[str, Tensor]

RESCALINGS = ("query-key", "value-output", "tables")


def rescaled(weights: Weights, rescaling: str, factor: float = 4.0) -> dict[str, Tensor]:
    """New tensors after a re-scaling, of every block where it has one; a power of two loses no digit.

    Raises:
        ConfigError: no such re-scaling, or a factor that is not positive and finite.
    """
    if rescaling not in RESCALINGS:
        raise ConfigError(f"expected a re-scaling out of {', '.join(RESCALINGS)}, got {rescaling!r}")
    if not 0 < factor < float("inf"):
        raise ConfigError(f"expected a factor above 0 and finite, got {factor}")
    last = max(int(found.group(1)) for name in weights if (found := re.match(r"blocks\.(\d+)\.", name)))
    by = {"up": factor, "down": 1 / factor}
    parts = {
        "query-key": {"up": r"blocks\.\d+\.query\.(weight|bias)", "down": r"blocks\.\d+\.key\.(weight|bias)"},
        "value-output": {"up": r"blocks\.\d+\.value\.(weight|bias)", "down": r"blocks\.\d+\.output\.weight"},
        "tables": {
            "up": r"(item|position)_embedding\.weight",
            "down": rf"blocks\.{last}\.feed_forward_norm\.(weight|bias)",
        },
    }[rescaling]
    result = {}
    for name, tensor in weights.items():
        side = next((side for side, pattern in parts.items() if re.fullmatch(pattern, name)), None)
        result[name] = tensor.clone() if side is None else tensor * by[side]
    return result
