"""Foreign checkpoints: the same user vectors, refusals in one line, nothing left behind, and their evaluation."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samrec_tests.foreign_checkpoints import s3rec_tensors, s3rec_user_vector

from samrec.data.catalog import open_data
from samrec.errors import CheckpointError, NonFiniteScores, ProtocolMismatch, RunError
from samrec.evaluation.evaluate import evaluate_run, read_evaluation
from samrec.evaluation.metrics import scores_of
from samrec.evaluation.paired import paired_users
from samrec.foreign import import_checkpoint, read_s3rec
from samrec.training.checkpoint import Run

ITEMS = 20


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "small.txt"
    lines = [[user, *random.permutation(np.arange(1, ITEMS + 1))[: random.integers(4, 12)]] for user in range(1, 40)]
    lines.append([40, *range(1, ITEMS + 1)])
    lines.append([41, 3, 4, 5, 3])  # a test target already seen
    path.write_text("\n".join(" ".join(map(str, line)) for line in lines) + "\n")
    return path


def saved(tensors, path):
    if path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    return path


def imported(tensors, data, folder, name="run"):
    checkpoint = saved(tensors, folder / f"{name}.safetensors")
    return import_checkpoint(checkpoint, open_data(str(data)), data=str(data), out=folder / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("layers", [1, 3])
def test_sizes_are_read_from_the_tensors(tmp_path, suffix, layers):
    tensors = s3rec_tensors(ITEMS, size=12, layers=layers, max_length=7)
    found = read_s3rec(saved(tensors, tmp_path / f"x{suffix}"))
    assert (found.item_count, found.size, found.layers, found.max_length) == (ITEMS, 12, layers, 7)
    assert found.idle == ("aap_norm.bias", "aap_norm.weight", "attribute_embeddings.weight")


def test_an_imported_run_gives_the_user_vectors_of_the_foreign_code(tmp_path, data):
    tensors = s3rec_tensors(ITEMS)
    run = imported(tensors, data, tmp_path)
    histories = [[3], [5, 6, 7], [1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    kept = [history[-6:] for history in histories]
    offsets = np.cumsum([0, *map(len, kept)])

    vectors = run.load_model().encode(np.concatenate(kept), offsets)

    expected = torch.stack([s3rec_user_vector(tensors, history) for history in histories])
    torch.testing.assert_close(vectors.double(), expected, rtol=0, atol=1e-5)


def test_the_padding_row_is_kept(tmp_path, data):
    tensors = s3rec_tensors(ITEMS)
    model = imported(tensors, data, tmp_path).load_model()
    assert tensors["item_embeddings.weight"][0].norm() > 0
    torch.testing.assert_close(model.item_embedding.weight.detach(), tensors["item_embeddings.weight"], rtol=0, atol=0)


def test_names_of_a_wrapped_model_and_of_a_nested_state_are_understood(tmp_path):
    tensors = s3rec_tensors(ITEMS)
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}, "epoch": 3}
    found = read_s3rec(saved(wrapped, tmp_path / "x.pt"))
    assert found.tensors.keys() == read_s3rec(saved(tensors, tmp_path / "y.pt")).tensors.keys()


def without(name):
    return lambda tensors: tensors.pop(name)


def with_value(name, value):
    return lambda tensors: tensors.update({name: value})


def with_nan(name):
    return lambda tensors: tensors[name].view(-1)[3:4].fill_(torch.nan)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("item_embeddings.weight"), "item_embeddings.weight in .* missing"),
        (without("item_encoder.layer.0.attention.key.bias"), r"layer\.0\.attention\.key\.bias in .* missing"),
        (without("LayerNorm.bias"), "expected LayerNorm.bias"),
        (with_value("LayerNorm.bias", torch.zeros(9)), r"LayerNorm.bias of shape \(8,\) .* got \(9,\)"),
        (with_value("position_embeddings.weight", torch.zeros(6, 9)), "position_embeddings.weight of width 8, got 9"),
        (with_value("item_embeddings.weight", torch.zeros(9)), "to be a table"),
        (with_value("lstm.weight", torch.zeros(9)), "holds lstm.weight"),
        (with_value("LayerNorm.bias", torch.zeros(8, dtype=torch.int64)), "floating-point"),
        (with_nan("item_embeddings.weight"), "NaN or infinity in item_embeddings.weight"),
        (with_nan("item_encoder.layer.1.attention.dense.weight"), r"layer\.1\.attention\.dense\.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_in_one_line(tmp_path, change, expected):
    tensors = s3rec_tensors(ITEMS)
    change(tensors)
    with pytest.raises(CheckpointError, match=expected) as raised:
        read_s3rec(saved(tensors, tmp_path / "x.safetensors"))
    assert "\n" not in str(raised.value)


class Harmful:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02"])
def test_files_of_other_formats_are_refused_in_one_line(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read") as raised:
        read_s3rec(path)
    assert "\n" not in str(raised.value)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = saved(s3rec_tensors(ITEMS), tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot read"):
        read_s3rec(path)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"item_embeddings.weight": Harmful()}, path)
    with pytest.raises(CheckpointError, match="objects besides tensors") as raised:
        read_s3rec(path)
    assert "weights_only" not in str(raised.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="found none at"):
        read_s3rec(tmp_path / "x.pt")


def test_a_checkpoint_of_other_data_is_refused_and_nothing_is_left(tmp_path, data):
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=re.escape("for the 20 items") + ".*for 19"):
        imported(s3rec_tensors(ITEMS - 1), data, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "run.safetensors"])


def test_a_folder_that_is_taken_is_refused_and_kept(tmp_path, data):
    imported(s3rec_tensors(ITEMS), data, tmp_path)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunError, match="new or empty"):
        imported(s3rec_tensors(ITEMS, seed=1), data, tmp_path)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_an_evaluation_is_kept_with_the_run_and_read_back(tmp_path, data):
    run = imported(s3rec_tensors(ITEMS), data, tmp_path)
    for keep_seen in (False, True):
        result = evaluate_run(run, "test", keep_seen=keep_seen)
        again = read_evaluation(run.path, "test", keep_seen=keep_seen)
        assert again.summary() == result.summary()
        np.testing.assert_array_equal(again.ranks, result.ranks)
        np.testing.assert_array_equal(again.users, np.arange(1, 42))
        assert result.metrics["NDCG@10"] == scores_of(result.ranks)["NDCG@10"].value
        assert result.targets_seen == pytest.approx(1 / 41)
        assert np.isinf(result.ranks[40]) == (not keep_seen)
    names = {path.name for path in run.path.iterdir()}
    assert names >= {"evaluation-test-masked.json", "ranks-test-masked.npz", "evaluation-test-kept.json"}
    assert not any(name.startswith(".") for name in names)
    stored = json.loads((run.path / "evaluation-test-masked.json").read_text())
    assert stored["users"] == 41


def test_ranks_are_those_of_the_foreign_forward_pass(tmp_path, data):
    tensors = s3rec_tensors(ITEMS)
    result = evaluate_run(imported(tensors, data, tmp_path), "validation")
    table = tensors["item_embeddings.weight"].double()
    for line, rank in zip(data.read_text().splitlines(), result.ranks, strict=True):
        _, *items = map(int, line.split())
        history, target = items[:-2], items[-2]
        scores = table @ s3rec_user_vector(tensors, history)
        others = [item for item in range(1, ITEMS + 1) if item not in history and item != target]
        assert rank == 1 + sum(scores[item] > scores[target] for item in others).item() if others else rank == 1


def test_splits_and_seen_rules_are_different_protocols(tmp_path, data):
    run = imported(s3rec_tensors(ITEMS), data, tmp_path)
    results = [evaluate_run(run, split, keep_seen=keep) for split in ("validation", "test") for keep in (False, True)]
    assert len({result.protocol for result in results}) == 4
    with pytest.raises(ProtocolMismatch):
        paired_users(results[0], results[1])


def test_scores_and_ranks_of_different_weights_are_not_taken_for_one(tmp_path, data):
    first = imported(s3rec_tensors(ITEMS), data, tmp_path, "first")
    second = imported(s3rec_tensors(ITEMS, seed=1), data, tmp_path, "second")
    evaluate_run(first)
    evaluate_run(second)
    name = "ranks-test-masked.npz"
    (first.path / name).write_bytes((second.path / name).read_bytes())
    with pytest.raises(RunError, match="different evaluations"):
        read_evaluation(first.path)
    (first.path / name).write_bytes(b"cut")
    with pytest.raises(RunError, match="cannot read"):
        read_evaluation(first.path)
    with pytest.raises(RunError, match="run samrec evaluate first"):
        read_evaluation(first.path, "validation")


def test_a_run_of_other_data_is_refused(tmp_path, data):
    run = imported(s3rec_tensors(ITEMS), data, tmp_path)
    data.write_text(data.read_text() + "42 1 2 3\n")
    with pytest.raises(RunError, match="trained on"):
        evaluate_run(Run(run.path))
    assert not (run.path / "evaluation-test-masked.json").exists()


def test_a_model_with_nan_is_refused_by_evaluate(tmp_path, data):
    run = imported(s3rec_tensors(ITEMS), data, tmp_path)
    tensors = {name: tensor.clone() for name, tensor in run.load_model().state_dict().items()}
    tensors["item_embedding.weight"][4] = torch.nan
    save_file(tensors, run.path / "best.safetensors")
    with pytest.raises((CheckpointError, NonFiniteScores)):
        evaluate_run(run)
    assert not (run.path / "evaluation-test-masked.json").exists()
