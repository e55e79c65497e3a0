"""Epochs kept beside a run are those it went through, survive kills and resumes, and are the path landscape draws."""

import numpy as np
import pytest
from samrec_tests.small_runs import assert_same_runs, assert_same_tensors, config, data, trained
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.directions.between import line_between, plane_through
from landscape.parameters import content_hash
from landscape.store import Store
from landscape.targets import kept_path, load_objective, load_weights
from samrec.errors import ConfigError, RunError
from samrec.kept_weights import kept_path as kept_path_of_run
from samrec.training.checkpoint import Run
from samrec.training.files import read_tensors
from samrec.training.run_folder import epochs_in
from samrec.training.trainer import Trainer, train


def kept(path, epoch):
    return read_tensors(path / f"epoch-{epoch}.safetensors")[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Five epochs, every second kept."""
    return train(config(epochs=5), data(), tmp_path_factory.mktemp("kept") / "run", keep_every=2)


def test_every_second_epoch_and_the_start_are_kept_and_are_the_weights_of_shorter_runs(run, tmp_path):
    assert epochs_in(run.path) == run.kept_epochs == [0, 2, 4]
    for epochs in (2, 4):
        shorter = trained(tmp_path / str(epochs), epochs=epochs)
        assert_same_tensors(kept(run.path, epochs), shorter.state().weights)
    assert_same_runs(run, trained(tmp_path / "without", epochs=5))
    assert epochs_in(tmp_path / "without") == []


def test_a_kept_epoch_opens_like_the_best_and_the_last_and_others_are_refused(run):
    assert_same_tensors(run.load_model("epoch-2").state_dict(), kept(run.path, 2))
    with pytest.raises(RunError, match="epoch-0, epoch-2, epoch-4, got 'epoch-3'"):
        run.load_model("epoch-3")
    weights = load_weights(f"samrec:{run.path}@epoch-4")
    assert content_hash(weights) == content_hash(dict(run.load_model("epoch-4").named_parameters()))


def test_without_kept_epochs_the_refusal_says_how_to_keep_them(tmp_path):
    plain = trained(tmp_path / "plain", epochs=1)
    with pytest.raises(RunError, match="--keep-every"):
        plain.load_model("epoch-1")
    with pytest.raises(RunError, match="--keep-every"):
        kept_path_of_run(str(plain.path))


def test_a_resumed_run_keeps_on_and_ends_with_the_same_files(run, tmp_path):
    class Killed(Exception):
        pass

    class Dying(Run):
        def save_state(self, state):
            if state.position.epoch == 4:
                raise Killed  # the epoch's own file is there, the state is not
            super().save_state(state)

    other = tmp_path / "other"
    dying = Trainer(Dying(_begun(other)), data(), keep_every=2)
    with pytest.raises(Killed):
        dying.fit()
    assert epochs_in(other) == [0, 2, 4]
    assert Run(other).kept_epochs == [0, 2]  # the fourth is not finished
    resumed = train(config(epochs=5), data(), other, resume=True)
    assert_same_runs(run, resumed)
    for epoch in (0, 2, 4):
        assert_same_tensors(kept(other, epoch), kept(run.path, epoch))


def _begun(path):
    """The folder of a run that keeps every second epoch and was not trained."""
    from samrec.training.checkpoint import create_run

    create_run(path, config(epochs=5), data(), keep_every=2)
    return path


def test_another_number_can_be_asked_for_on_resume_and_none_is_no_number(tmp_path):
    path = _begun(tmp_path / "run")
    train(config(epochs=5), data(), path, resume=True, keep_every=5)
    assert epochs_in(path) == [0, 5]
    assert Run(path).record["keep_every"] == 5
    with pytest.raises(ConfigError, match="every 1 or more"):
        train(config(), data(), tmp_path / "none", keep_every=0)
    assert not (tmp_path / "none").exists()


def test_a_run_that_is_taken_back_leaves_no_epochs(tmp_path):
    path = _begun(tmp_path / "run")
    run = Run(path)
    run.save_epoch(0, run_weights())
    run.discard()
    assert not path.exists()


def run_weights():
    from samrec.models.build import build_model

    return build_model(config(), data().item_count).state_dict()


def test_the_path_of_a_run_is_its_kept_epochs_and_the_best_in_order(run):
    best = run.state().position.best_epoch
    expected = {0: "epoch-0", 2: "epoch-2", 4: "epoch-4"} | {best: "best"}
    assert kept_path(f"samrec:{run.path}") == [
        (float(epoch), f"samrec:{run.path}@{which}") for epoch, which in sorted(expected.items())
    ]


@pytest.fixture
def file(tmp_path):
    """The data as a file."""
    interactions = data()
    path = tmp_path / "small.txt"
    rows = np.split(interactions.items, interactions.offsets[1:-1])
    path.write_text("".join(f"{user} {' '.join(map(str, row))}\n" for user, row in enumerate(rows, start=1)))
    return path


def test_the_command_draws_the_path_of_a_run(tmp_path, file):
    from samrec.data.catalog import open_data

    folder, store = tmp_path / "run", tmp_path / "study.h5"
    train(config(data=str(file), epochs=4), open_data(str(file)), folder, keep_every=1)
    arguments = ["trajectory", f"samrec:{folder}", "--store", str(store), "--points", "3", "--users", "40"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    with Store.read(store) as opened:
        path = opened.trajectory("run")
        assert opened.surface("run-path").is_finished
    best = Run(folder).state().position.best_epoch
    assert path.epochs.tolist() == [0, 1, 2, 3, 4]
    assert (path.distances[best], path.labels[best]) == (0, "run@best")
    objective = load_objective(f"samrec:{folder}", users=40)
    flat = objective.layout.flatten
    away = [
        float((flat(load_weights(f"samrec:{folder}@epoch-{epoch}")) - flat(objective.weights)).norm())
        for epoch in range(5)
        if epoch != best
    ]
    assert np.delete(path.distances, best) == pytest.approx(away, rel=1e-6)
    plane = plane_through(objective, f"samrec:{folder}@epoch-1", f"samrec:{folder}@epoch-0")
    assert [mark.outside < 1e-12 for mark in plane.marks] == [True] * 3
    assert line_between(objective, f"samrec:{folder}@epoch-0").marks[1].loss == path.losses[0]
