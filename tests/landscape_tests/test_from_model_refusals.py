"""What an objective of any model refuses, each in one line: chance, dropout, data without end, what does not fit."""

import itertools

import pytest
import torch
from landscape_tests.models import (
    NamedInputs,
    SmallCNN,
    images,
    named_batches,
    seeded,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import landscape as ls
from landscape.any_model import AnyModel
from landscape.errors import InvalidArgument, NotFrozen
from landscape.objective import check_frozen

from_model = ls.Objective.from_model


def test_dropout_is_refused_until_the_model_is_in_evaluation_mode():
    model = seeded(SmallCNN, dropout=0.5).train()
    with pytest.raises(NotFrozen, match=r"on in dropout: call model.eval\(\) first"):
        from_model(model, nn.CrossEntropyLoss(), images())
    check_frozen(from_model(model.eval(), nn.CrossEntropyLoss(), images()))


def test_chance_in_evaluation_mode_is_refused():
    class Noisy(SmallCNN):
        def forward(self, x):
            return super().forward(x) + torch.rand(1)

    with pytest.raises(NotFrozen, match="the same outputs twice"):
        from_model(Noisy(), nn.CrossEntropyLoss(), images())


def test_a_loader_is_drawn_once_and_a_stream_without_end_is_stopped():
    x, y = (torch.cat(parts) for parts in zip(*images(), strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=6, shuffle=True)
    objective = from_model(seeded(SmallCNN).eval(), nn.CrossEntropyLoss(), loader)
    assert [len(chunk.counts) for chunk in objective.chunks] == [6, 6, 6, 2]
    check_frozen(objective)
    with pytest.raises(InvalidArgument, match="at most 10,000 bytes together"):
        from_model(seeded(SmallCNN), nn.CrossEntropyLoss(), itertools.cycle(images()), max_bytes=10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": images()[0]}, r"put it into a list, as in \[\(inputs, targets\)\]"),
        ({"batches": [images()[0][0]]}, "got a Tensor"),
        ({"batches": []}, "at least one batch"),
        ({"batches": TensorDataset(*images()[0])}, "TensorDataset: a data set is cut .* by a DataLoader"),
        ({"batches": [(torch.ones(4, 5), torch.zeros(4))]}, r"inputs \(4, 5\) float32 to fit the model"),
        (
            {"batches": [(images()[0][0], torch.zeros(8, 2))]},
            r"outputs \(8, 4\) .* targets \(8, 2\) .* CrossEntropyLoss",
        ),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "'mean' or 'none', got 'sum'"),
        ({"loss": nn.CrossEntropyLoss}, r"make one, CrossEntropyLoss\(\)"),
        ({"loss": images()}, r"got a list: the order is from_model\(model, loss"),
        ({"loss": lambda z, y: F.cross_entropy(z, y)}, r"shape \(\): return one number for each unit"),
        ({"loss": lambda z, _: z}, r"shape \(8, 4\): sum over the rest"),
        ({"output": "scores", "model": NamedInputs(), "batches": named_batches()}, "among .* logits, loss, hidden"),
        ({"targets": "y", "model": NamedInputs(), "batches": named_batches()}, "got input_ids, attention_mask, labels"),
        ({"batch_norm": "layer"}, "running or batch"),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_was_expected(options, message):
    arguments = {"model": seeded(SmallCNN).eval(), "loss": nn.CrossEntropyLoss(), "batches": images()} | options
    with pytest.raises(InvalidArgument, match=message) as caught:
        from_model(**arguments)
    assert "\n" not in str(caught.value)


def test_weights_alone_are_no_model():
    with pytest.raises(InvalidArgument, match=r"torch\.nn\.Module first, got a OrderedDict"):
        AnyModel(SmallCNN().state_dict())
