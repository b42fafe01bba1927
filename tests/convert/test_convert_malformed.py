"""Old configs with values of the wrong type: one message that names the key."""

import pytest

from openmix.convert.config import convert_config
from openmix.errors import UserError

RICH = {
    "custom_hooks": [{"type": "EMAHook", "momentum": 0.99}, {"type": "SAVEHook", "save_interval": 9}],
    "lr_config": {"warmup": "linear", "warmup_iters": 5, "warmup_ratio": 0.1, "min_lr": 0.01},
    "optimizer": {"paramwise_options": {"norm": {"weight_decay": 0.0}, "bias": {"lr": 0.1}}},
    "optimizer_config": {"grad_clip": {"max_norm": 5.0}, "update_interval": 2, "_delete_": True},
    "model": {"mix_mode": ["manifoldmix", "fmix"], "mix_prob": [0.5, 0.5], "backbone": {"norm_cfg": {"type": "BN"}}},
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("value", [..., None, 0, 0.5, True, "x", [], [1], [None], {}, {"a": 1}, "cutmix"], ids=repr)
def test_malformed_values_are_the_users_errors(flat, damaged, value, monkeypatch):
    """Each value of a config in turn, whatever depth it has, is replaced: no other exception comes out."""
    content = flat(**RICH)
    randaugment = {"type": "RandAugment", "num_policies": 2, "magnitude_level": 9, "total_level": 10}
    erasing = {"type": "RandomErasing", "fill_color": [1, 2, 3], "aspect_range": [0.3, 3.3], "p": 0.5}
    apply = {"type": "RandomAppliedTrans", "transforms": [{"type": "CenterCrop", "size": 8}], "p": 0.5}
    content["data"]["train"]["pipeline"] = [randaugment, erasing, apply]
    content["model"]["head"]["loss"] = {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "classy_vision"}
    for place, changed in damaged(content, value):
        monkeypatch.setattr("openmix.convert.config.read_old_config", lambda path, changed=changed: changed)
        try:
            convert_config("old.json")
        except UserError as error:
            assert str(error).split(":")[0].split(".")[0] in content, (place, error)  # names the key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer_config": {"grad_clip": 5.0}}, "optimizer_config.grad_clip: must be dict | None, got 5.0"),
        ({"lr_config": {"policy": "step"}}, "lr_config.step: must be int | Sequence[int], got None"),
        ({"model": {"mix_prob": 0.5}}, "model.mix_prob: must be Sequence[float] | None, got 0.5"),
        ({"log_config": {"hooks": None}}, "log_config.hooks: must be Sequence[dict], got None"),
    ],
)
def test_malformed_values_are_named(old, changes, message):
    with pytest.raises(UserError) as error:
        convert_config(old(**changes))
    assert str(error.value) == message
