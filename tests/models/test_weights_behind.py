"""What stands behind a trunk may be new: the norm of averaged tokens, pooling with weights, a probe's norm."""

from typing import Any

import pytest
import torch

from openmix.errors import UserError
from openmix.models import AttentionPooling, ClsHead, ConvNet, MAEDecoder, ProjectionMLP, TimmBackbone
from openmix.models.weights import fit_weights
from openmix.tasks import MAE, Classification, LinearProbe, MoCo, SimCLR


def vit(**net: Any) -> TimmBackbone:
    args = {"patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, **net}
    return TimmBackbone("vit_tiny_patch16_224", img_size=16, model_args=args)


@pytest.fixture(scope="module")
def pretrained() -> dict[str, torch.Tensor]:
    return MAE(vit(), ClsHead(10, 8), MAEDecoder(8, 8, 1, 2)).state_dict()


def test_the_trunk_of_a_masked_autoencoder_with_a_new_head(pretrained):
    task = Classification(vit(), ClsHead(10, 8))
    fitted = fit_weights(pretrained, task)
    assert fitted.begins_anew == ("head",)
    task.load_state_dict(fitted.weights)
    for name, value in task.backbone.state_dict().items():
        assert torch.equal(value, pretrained[f"backbone.{name}"])
    assert task.backbone.net.pos_embed.requires_grad
    assert {name.partition(".")[0] for name in fitted.ignored} == {"probe", "decoder"}


@pytest.mark.parametrize("of", ["openmix", "the authors"])
def test_averaged_tokens_have_a_norm_of_their_own(pretrained, of):
    """And the norm of all tokens, which pre-training had, is left out."""
    weights = pretrained
    if of == "the authors":  # by timm's names, the decoder beside the encoder
        weights = {k.removeprefix("backbone.net."): v for k, v in pretrained.items() if k.startswith("backbone.")}
        weights |= {"mask_token": torch.ones(1, 1, 4), "decoder_embed.weight": torch.ones(4, 8)}
    task = Classification(vit(global_pool="avg"), ClsHead(10, 8))
    fitted = fit_weights(weights, task)
    assert fitted.begins_anew == ("backbone.net.fc_norm", "head")
    assert len([name for name in fitted.ignored if "norm." in name and "decoder" not in name]) == 2
    assert torch.equal(fitted.weights["backbone.net.fc_norm.weight"], torch.ones(8))


def test_attention_pooling_begins_anew(pretrained):
    fitted = fit_weights(pretrained, Classification(vit(global_pool="map"), ClsHead(10, 8)))
    assert fitted.begins_anew == ("backbone.net.attn_pool", "head")
    again = Classification(vit(global_pool="map"), ClsHead(10, 8))
    assert fit_weights(again.state_dict(), again).own == ()


def test_a_probes_norm_and_neck(pretrained):
    probe = LinearProbe(vit(), ClsHead(10, 8), norm=True)
    assert fit_weights(pretrained, probe).begins_anew == ("norm", "head")
    assert fit_weights(probe.state_dict(), probe).own == ()
    trunk = ConvNet([4, 8])
    probe = LinearProbe(ConvNet([4, 8]), ClsHead(10, 8), AttentionPooling(8, 2))
    fitted = fit_weights(Classification(trunk, ClsHead(10, 8)).state_dict(), probe)
    assert fitted.begins_anew == ("neck",)


@pytest.mark.parametrize("lost", ["backbone.net.blocks.1.norm2.weight", "backbone.net.norm.weight"])
def test_any_other_missing_part_is_an_error(pretrained, lost):
    weights = {key: value for key, value in pretrained.items() if key != lost}
    with pytest.raises(UserError, match=f"1 missing: {lost}"):
        fit_weights(weights, Classification(vit(), ClsHead(10, 8)))


def test_a_part_of_which_the_file_has_some_is_an_error():
    task = Classification(vit(global_pool="avg"), ClsHead(10, 8))
    weights = {k: v for k, v in task.state_dict().items() if k != "backbone.net.fc_norm.bias"}
    with pytest.raises(UserError, match=r"1 missing: backbone.net.fc_norm.bias"):
        fit_weights(weights, task)


def test_another_number_of_patches_is_an_error(pretrained):
    larger = TimmBackbone(
        "vit_tiny_patch16_224", img_size=20, model_args={"patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2}
    )
    with pytest.raises(UserError, match=r"pos_embed \(1 x 17 x 8, not 1 x 26 x 8\)"):
        fit_weights(pretrained, Classification(larger, ClsHead(10, 8)))


def simclr(width: int = 4) -> SimCLR:
    return SimCLR(ConvNet((4, 8)), ClsHead(3, 8), ProjectionMLP(8, [width]))


def test_what_a_file_has_not_beside_the_trunk_begins_anew():
    """And is said to: a probe's accuracy would be chance's."""
    weights = {key: value for key, value in simclr().state_dict().items() if key.startswith("backbone.")}
    fitted = fit_weights(weights, simclr())
    assert fitted.begins_anew == ("probe", "projector")
    assert fit_weights(simclr().state_dict(), simclr()).begins_anew == ()


def test_what_fits_beside_the_trunk_is_gone_on_with_and_what_does_not_is_not_in_the_way():
    theirs, own = simclr(4), simclr(6)
    fitted = fit_weights(theirs.state_dict(), own)
    assert fitted.begins_anew == ("projector",)
    assert torch.equal(fitted.weights["probe.fc.weight"], theirs.probe.fc.weight)
    assert torch.equal(fitted.weights["projector.layers.0.weight"], own.state_dict()["projector.layers.0.weight"])


def test_a_queue_of_another_size_and_its_momentum_encoder():
    def moco(width: int, size: int) -> MoCo:
        return MoCo(ConvNet((4, 8)), ClsHead(3, 8), ProjectionMLP(8, [width]), queue_size=size)

    assert fit_weights(moco(4, 6).state_dict(), moco(4, 8)).begins_anew == ("queue",)
    assert fit_weights(moco(4, 6).state_dict(), moco(5, 6)).begins_anew == ("projector", "queue")


def test_a_fraction_is_no_whole_number():
    weights = MoCo(ConvNet((4, 8)), ClsHead(3, 8), ProjectionMLP(8, [4]), queue_size=6).state_dict()
    task = MoCo(ConvNet((4, 8)), ClsHead(3, 8), ProjectionMLP(8, [4]), queue_size=6)
    for odd in (2.5, float("nan")):
        with pytest.raises(UserError, match=r"queue\.place"):
            fit_weights({**weights, "queue.place": torch.tensor(odd)}, task)
    assert fit_weights({**weights, "queue.place": torch.tensor(2.0)}, task).weights["queue.place"] == 2
