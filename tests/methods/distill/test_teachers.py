"""Networks, ensembles, files and functions teach alike; what cannot teach is refused in a sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.distill import Ensemble, as_teacher, teacher_fingerprint
from tersenet.methods.distill.teachers import check_same_outputs

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def linear(seed: int, outputs: int = 3) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(4, outputs)


def test_an_ensemble_averages_logits():
    members = [linear(seed) for seed in range(3)]
    expected = torch.stack([member(X) for member in members]).mean(0)
    torch.testing.assert_close(as_teacher(members)(X), expected)


def test_an_ensemble_of_one_is_its_member():
    member = linear(0)
    assert as_teacher([member]) is member
    assert torch.equal(Ensemble([member])(X), member(X))


@pytest.mark.parametrize("members", [[], [linear(0), linear(1, outputs=4)], [linear(0), nn.LSTM(4, 3)]])
def test_members_that_do_not_fit_together_are_refused(members):
    with pytest.raises(TersenetError, match="member"):
        Ensemble(members)(X)


def test_a_file_teaches_what_its_network_answers(tmp_path):
    network = capture(linear(0), X)
    (tmp_path / "t.terse").write_bytes(artifact.to_bytes(network, "huffman"))
    assert torch.equal(as_teacher(tmp_path / "t.terse")(X), network(X))


def test_a_function_teaches_and_its_errors_are_told():
    assert torch.equal(as_teacher(lambda x: x[:, :3] * 2)(X), X[:, :3] * 2)
    with pytest.raises(TersenetError, match="the teacher raised ZeroDivisionError"):
        as_teacher(lambda x: 1 // 0)(X)
    for wrong in (lambda x: None, lambda x: x[:2], lambda x: x.sum()):
        with pytest.raises(TersenetError, match="an answer for each"):
            as_teacher(wrong)(X)


def test_a_number_teaches_nothing():
    with pytest.raises(TersenetError, match="a int came"):
        as_teacher(3)


def test_other_outputs_are_refused_before_training_and_modes_stay():
    student = nn.Sequential(linear(0), nn.Dropout()).train()
    check_same_outputs(student, linear(1), X)
    with pytest.raises(TersenetError, match=r"answers \(5, 4\), the student \(5, 3\)"):
        check_same_outputs(student, linear(1, outputs=4), X)
    assert student.training and student[1].training


def test_a_fingerprint_tells_weights_and_structures_apart():
    def double(x):
        return 2 * x

    def triple(x):
        return 3 * x

    teachers = [linear(0), linear(1), nn.Sequential(linear(0)), *map(as_teacher, (double, triple))]
    assert len({teacher_fingerprint(teacher) for teacher in teachers}) == len(teachers)
    assert teacher_fingerprint(linear(0)) == teacher_fingerprint(linear(0))
