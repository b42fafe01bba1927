"""A head's loss in a config: built from its dict, checked key by key, and trained with."""

import pytest

from openmix import models
from openmix.errors import UserError
from openmix.registry import MODELS, build_task

LOSSES = [
    {"type": "MixCrossEntropy", "label_smoothing": 0.1},
    {"type": "MixBinaryCrossEntropy", "class_reduction": "sum"},
    {"type": "MixBinaryCrossEntropy", "two_hot": "pow", "threshold": 0.8, "exponent": 2},
    {"type": "DecoupledCrossEntropy", "eta": 0.1, "mode": "less"},
]


def head(**arguments):
    return {"type": "ClsMixupHead", "num_classes": 10, **arguments}


def test_the_registry_has_the_losses():
    assert {"MixCrossEntropy", "MixBinaryCrossEntropy", "DecoupledCrossEntropy"} <= set(MODELS.module_dict)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_task_has_the_loss_of_its_config(loss):
    backbone = {"type": "ConvNet", "widths": [4], "in_channels": 1}
    task = build_task({"type": "MixUpClassification", "backbone": backbone, "head": head(loss=loss)})
    assert type(task.head.criterion) is getattr(models, loss["type"])
    assert {k: getattr(task.head.criterion, k) for k in loss if k != "type"} == {
        k: v for k, v in loss.items() if k != "type"
    }
    assert task.head.fc.in_features == 4, "inferred beside a loss as without one"


@pytest.mark.parametrize("kind", ["MixUpClassification", "Classification"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_config_trains_with_it(loss, kind, lab, tmp_path):
    mixes = {"mix_mode": ["mixup", "cutmix"]} if kind == "MixUpClassification" else {}
    backbone = {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}
    path = lab.write(tmp_path, model={"type": kind, "backbone": backbone, "head": head(loss=loss), **mixes})
    plain = lab.write(tmp_path, "plain", model={"type": kind, "backbone": backbone, "head": head(), **mixes})
    losses = []
    for file, folder in ((path, "with"), (plain, "without")):
        lab.train(file, tmp_path / folder, train_cfg__max_epochs=1)
        losses.append([r["loss"] for r in lab.records(tmp_path / folder) if r["split"] == "train"])
    assert losses[0]
    same = kind == "Classification" and loss["type"] == "DecoupledCrossEntropy"  # nothing to decouple
    assert (losses[0] == pytest.approx(losses[1], rel=1e-6)) == same


WRONG = [
    (
        {"loss": {"type": "MixBinaryCrossEntropi"}},
        "model.head.loss.type: unknown model type 'MixBinaryCrossEntropi'; did you mean 'MixBinaryCrossEntropy'?",
    ),
    (
        {"loss": {"type": "MixBinaryCrossEntropy", "treshold": 0.5}},
        "model.head.loss.treshold: MixBinaryCrossEntropy takes no 'treshold'; did you mean 'threshold'?",
    ),
    (
        {"loss": {"type": "MixBinaryCrossEntropy", "two_hot": "none"}},
        "model.head.loss.two_hot: must be Literal['one', 'pow', 'exp'] | None, got 'none'",
    ),
    ({"loss": {"type": "DecoupledCrossEntropy", "eta": "big"}}, "model.head.loss.eta: must be float, got 'big'"),
    ({"loss": {"type": "DecoupledCrossEntropy", "eta": -1.0}}, "DecoupledCrossEntropy: eta must be a number"),
    ({"loss": {"label_smoothing": 0.1}}, "model.head.loss.type: a model needs a 'type'"),
    ({"loss": "MixCrossEntropy"}, "model.head.loss: must be Module | None, got 'MixCrossEntropy'"),
    (
        {"loss": {"type": "MixCrossEntropy"}, "label_smoothing": 0.1},
        "ClsMixupHead: label_smoothing and loss are both given",
    ),
    ({"los": {"type": "MixCrossEntropy"}}, "model.head.los: ClsMixupHead takes no 'los'; did you mean 'loss'?"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_is_wrong_with_it_is_named(arguments, message, lab, tmp_path):
    with pytest.raises(UserError) as caught:
        lab.load(lab.write(tmp_path, model={"head": arguments}), tmp_path)
    assert message in str(caught.value)
