"""TensorBoard reads what history holds, an epoch a step; a resumed run doubles nothing; a missing package is said."""

import importlib.util

import pytest
from samrec_tests import small_pretraining, small_runs
from samrec_tests.commands import samrec_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samrec.training.loop import Loop
from samrec.training.pretrain import pretrain
from samrec.training.tensorboard import scalars_of
from samrec.training.trainer import train


def read(folder):
    """{tag: [(epoch, value), ...]} as TensorBoard's own reader has them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(s.step, s.value) for s in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def of_history(run):
    """The same from the run's history."""
    found = {}
    for entry in run.history():
        for tag, value in scalars_of(entry, run.config).items():
            found.setdefault(tag, []).append((entry["epoch"], pytest.approx(value, rel=1e-6)))
    return found


def test_every_scalar_of_every_epoch_is_read_back(tmp_path):
    config = small_runs.config(rho=0.1, epochs=3)
    run = train(config, small_runs.data(), tmp_path / "sam", tensorboard=tmp_path / "board", show=False)
    found = read(tmp_path / "board" / "sam")
    assert found == of_history(run)
    wanted = {"loss", "weight norm", "learning rate", "SAM/sharpness of the step", "SAM/rho", "validation/NDCG@20"}
    assert wanted <= set(found)
    assert [step for step, _ in found["loss"]] == [1, 2, 3]
    assert found["learning rate"][0][1] == pytest.approx(config.learning_rate)


def test_an_interrupted_run_that_is_resumed_has_each_epoch_once(tmp_path, monkeypatch):
    def begun(**told):
        return train(small_runs.config(), small_runs.data(), tmp_path / "run", show=False, **told)

    epoch = Loop.epoch
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "epoch", lambda loop, *told: epoch(loop, *told) if loop.position.epoch < 2 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begun(tensorboard=tmp_path)
    run = begun(tensorboard=tmp_path, resume=True)
    assert read(tmp_path / "run") == of_history(run)
    begun(tensorboard=tmp_path, resume=True)  # finished: told once more
    assert read(tmp_path / "run") == of_history(run)


def test_a_pre_training_tells_each_loss(tmp_path):
    config = small_pretraining.config(aap=0, map=0, epochs=1)
    run = pretrain(config, small_runs.data(), tmp_path / "pre", tensorboard=tmp_path / "board", show=False)
    found = read(tmp_path / "board" / "pre")
    assert {"losses/mip", "losses/sp"} <= set(found)
    assert found == of_history(run)


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_package_or_a_file_in_the_way_is_one_line_and_nothing_is_written(
    missing, tmp_path, monkeypatch, capsys
):
    command = samrec_in(tmp_path, monkeypatch, capsys)
    find = importlib.util.find_spec
    if missing:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *more: None if name == "tensorboard" else find(name, *more)
        )
    (tmp_path / "taken").write_text("")
    board = "board" if missing else "taken"
    code, out, err = command("train", "--data", "synthetic", "--out", "run", "--tensorboard", board)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("pip install tensorboard" if missing else "expected a folder, got a file") in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
