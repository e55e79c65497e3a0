"""The gap between training and test loss, against both losses of the padded model taken target by target."""

import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.padded import padded_cross_entropy, padded_hidden, padded_inputs

from samrec.data.split import evaluation_sequences, training_sequences
from samrec.experiments.measure import generalisation_gap


@pytest.mark.parametrize("split", ["leave-one-out", "leave-last-2"])
def test_the_gap_is_of_both_losses_taken_target_by_target(split, tmp_path):
    data = small_runs.data()
    run = small_runs.trained(tmp_path / "run", epochs=2, data_fraction=0.5, seed=3, split=split)
    holdout = run.config.holdout
    found = generalisation_gap(run, data)
    weights = {name: tensor.double() for name, tensor in run.load_model().state_dict().items()}
    trained_on = small_runs.trainer(tmp_path / "other", data_fraction=0.5, seed=3, split=split).trained_on

    def histories(sequences, rows):
        return [sequences.items[sequences.offsets[row] : sequences.offsets[row + 1]].tolist() for row in rows]

    train = training_sequences(data, max_length=16, holdout=holdout)
    test = evaluation_sequences(data, "test", max_length=16, holdout=holdout)
    targets = [train.targets[train.offsets[row] : train.offsets[row + 1]].tolist() for row in trained_on]
    assert found.training_loss == pytest.approx(
        padded_cross_entropy(weights, histories(train, trained_on), targets, 16).item(), rel=1e-5
    )
    newest = padded_hidden(weights, padded_inputs(histories(test, range(len(test))), 16))[:, -1]
    chances = torch.softmax(newest @ weights["item_embedding.weight"][1:-1].T, -1)
    of_targets = chances[torch.arange(len(test)), torch.from_numpy(test.targets) - 1]
    assert found.test_loss == pytest.approx(-of_targets.log().mean().item(), rel=1e-5)
    assert found.gap == found.test_loss - found.training_loss
    assert (found.training_targets, found.test_targets) == (sum(map(len, targets)), len(test))
