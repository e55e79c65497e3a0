"""What is drawn: once a run its share of the data, and anew in every epoch negatives and augmented views."""

from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from samrec.config import Contrast
from samrec.data.augment import views_of
from samrec.data.batches import PackedBatch, batches
from samrec.data.negatives import NegativeSampler
from samrec.data.split import Sequences, nested_share
from samrec.training.streams import numpy_generator

Integers = NDArray[np.int64]


def rows_trained_on(usable: Integers, *, fraction: float, seed: int) -> Integers:
    """The rows of the training sequences that a run learns from: of one seed, a smaller fraction's are among these.

    Training and pre-training of one seed draw the same ones.
    """
    return nested_share(usable, fraction, numpy_generator(seed, "fraction", 0))


def negatives_drawn(
    sampler: NegativeSampler, users: Integers, rng: np.random.Generator, count: int | None
) -> Callable[[Integers], Integers | None]:
    """The function from places of tokens to their negatives, (places, count); None where the loss has no negatives.

    One negative of each token is drawn at once. Many are drawn batch by batch, as they are asked for: 256 for every
    token of an epoch of Beauty would be 260 MB.

    Args:
        sampler: draws them.
        users: of each token of an epoch.
        rng: the epoch's.
        count: negatives a token.
    """
    if count is None:
        return lambda _: None
    if count == 1:
        drawn = sampler.draw(rng, users)
        return lambda places: drawn[places]
    return lambda places: sampler.draw(rng, users[places], size=count)


def views_drawn(
    sequences: Sequences,
    groups: Integers,
    contrast: Contrast | None,
    rng: np.random.Generator,
    *,
    max_length: int,
    mask_id: int,
) -> Iterator[PackedBatch | None]:
    """Two views of every sequence of each batch: 2i and 2i + 1 are of the batch's i-th; None without a contrast.

    Args:
        sequences: the training inputs, already cut to `max_length`.
        groups: (batches, sequences) the sequences of each batch, padded with -1 at the end.
        contrast: which operators, and how much of a sequence they change.
        rng: the epoch's.
        max_length: slots a row.
        mask_id: the item id that masks.
    """
    if contrast is None:
        yield from repeat(None, len(groups))
        return
    items, offsets = views_of(
        sequences.items,
        sequences.offsets,
        rng,
        mask_id=mask_id,
        operators=contrast.operators,
        crop=contrast.crop,
        mask=contrast.mask,
        reorder=contrast.reorder,
    )
    both = np.where(groups[:, :, None] >= 0, 2 * groups[:, :, None] + np.arange(2), -1).reshape(len(groups), -1)
    for *_, batch in batches(items, offsets, both, max_length=max_length):
        yield batch
