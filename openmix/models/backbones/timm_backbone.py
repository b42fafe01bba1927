"""Any network of timm as a backbone."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from openmix.models.backbones.checks import check_one_of
from openmix.models.backbones.timm_anatomy import examine
from openmix.ops.checks import check_flag, check_integer, check_probability

__all__ = ["TimmBackbone"]

# what model_args may not hold: this class has its own argument for it, or sets it
ARGUMENTS = ("pretrained", "img_size", "drop_rate", "drop_path_rate")
OWN = {
    "num_classes": "a backbone has no classifier",
    "features_only": "a backbone keeps the whole network",
    "checkpoint_path": "write load_from in the config",
    "in_chans": "it is the argument in_channels of TimmBackbone",
    **dict.fromkeys(ARGUMENTS, "it is an argument of TimmBackbone itself"),
}
WEIGHT_SOURCES = ("url", "file", "hf_hub_id", "state_dict")


class TimmBackbone(nn.Module):
    """timm's network ``net`` with its head's pooling and without its classifier.

    The feature maps (B, C, h, w) are timm's intermediate ones: of a pyramid the last four stages, which in most
    networks are 1/4, 1/8, 1/16 and 1/32 of the image's height and width; of a network whose blocks all have one
    resolution, as ViT, four blocks at quarters of its depth, of 12 blocks the third, sixth, ninth and twelfth.

    The spatial mean of the last one is always what timm's own head hands to its classifier. Where timm pools its final
    map by the plain mean, the last one is that map, behind the final norm or convolution (ResNet, EfficientNet, Swin).
    Where it does more (class token, attention pooling, a norm or a convolution behind the mean, dropout: ViT, ConvNeXt,
    MobileNetV3), it is timm's own pooled features as a map of one place, (B, C, 1, 1).

    For small images, ``img_size`` and ``model_args`` make networks of other patches. Of 32 pixels, the first two of
    these make 8x8 tokens, Swin a first map of 16x16, ConvNeXt one of 32x32 (and of 8x8 with patch_size=2, as timm then
    halves it once more)::

        dict(type='TimmBackbone', name='vit_tiny_patch16_224', img_size=32, model_args=dict(patch_size=4))
        dict(type='TimmBackbone', name='deit_tiny_patch16_224', img_size=32, model_args=dict(patch_size=4))
        dict(type='TimmBackbone', name='swin_tiny_patch4_window7_224', img_size=32,
             model_args=dict(patch_size=2, window_size=4))
        dict(type='TimmBackbone', name='convnext_tiny', model_args=dict(patch_size=1))

    Args:
        name: one of ``timm.list_models()``; with a tag behind a dot, ``'resnet50.a1_in1k'``, those weights are meant.
        pretrained: whether to load timm's weights, which are downloaded when first used. On the meta device nothing is
            loaded. ``model_args=dict(pretrained_cfg_overlay=dict(file=...))`` takes them from a file.
        in_channels: of the images; timm fits pretrained weights to another number than 3.
        img_size: height and width of the images, or one number for both; only for networks that are made for one size,
            as most with positions or windows are. Default timm's own.
        drop_rate: of the dropout before the classifier, in [0, 1]; default timm's own, 0 for most networks.
        drop_path_rate: of stochastic depth, in [0, 1]; default timm's own, 0 for most networks.
        model_args: further arguments of the network's class in timm.

    Attributes:
        stage_names: the modules of ``net`` whose outputs the maps are. Empty where timm has no such modules (MViTv2,
            Twins, CoaT, PiT, HRNet and a few others): then nothing can be mixed inside the network.
        channels_last: whether the outputs of those modules are (B, h, w, C), as Swin's.
        out_channels: the channels of each map.
        last_map_is_pooled: whether the last map is of one place.

    Raises:
        ValueError: unknown name, an argument out of range or that timm's network does not take, weights that cannot be
            had, a network of which timm does not yield intermediate maps.

    >>> net = TimmBackbone("test_vit", img_size=32, model_args={"patch_size": 4})
    >>> net.stage_names
    ('net.blocks.0', 'net.blocks.2', 'net.blocks.3', 'net.blocks.5')
    >>> [tuple(f.shape) for f in net(torch.rand(2, 3, 32, 32))]
    [(2, 64, 8, 8), (2, 64, 8, 8), (2, 64, 8, 8), (2, 64, 1, 1)]
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        in_channels: int = 3,
        img_size: int | Sequence[int] | None = None,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_flag("pretrained", pretrained)
        check_integer("in_channels", in_channels, 1)
        _check_size(img_size)
        for rate, value in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
            if value is not None:
                check_probability(rate, value)
        for key in OWN:
            if key in (model_args or {}):
                raise ValueError(f"model_args must not hold {key}: {OWN[key]}")
        size = tuple(img_size) if isinstance(img_size, Sequence) else img_size
        given = {"img_size": size, "drop_rate": drop_rate, "drop_path_rate": drop_path_rate, **(model_args or {})}
        arguments = {"in_chans": in_channels, **{k: v for k, v in given.items() if v is not None}}
        draft = _draft(name, arguments)
        height, width = (size, size) if isinstance(size, int) else size or draft.pretrained_cfg["input_size"][1:]
        anatomy = examine(draft, torch.empty(2, in_channels, height, width, device="meta"))
        self.stage_names = tuple(f"net.{name}" for name in anatomy.stage_names)
        self.channels_last = anatomy.channels_last
        self.out_channels = anatomy.out_channels
        self._indices = anatomy.indices
        self._channel_dim = anatomy.channel_dim
        self.last_map_is_pooled = anatomy.channel_dim is None
        if pretrained and not any(draft.pretrained_cfg.get(source) for source in WEIGHT_SOURCES):
            raise ValueError(f"timm has no weights for {name}: pretrained=True asks for them")
        on_meta = torch.empty(0).device.type == "meta"
        self.net = draft if on_meta else _build(name, arguments, pretrained)

    def finish(self, x: Tensor, grid: Sequence[int] = ()) -> Tensor:
        """Return the map that is pooled for timm's final features.

        Args:
            x: the features, in timm's own layout.
            grid: rows and columns of places, which tokens (B, N, C) do not tell.
        """
        if self._channel_dim is None:
            return self.net.forward_head(x, pre_logits=True)[:, :, None, None]
        x = x.movedim(self._channel_dim, 1)
        return x if x.ndim == 4 else x.unflatten(2, tuple(grid))

    def forward(self, images: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """Return the feature maps for images (B, C, H, W); the last one is what a classifier pools.

        Args:
            images: (B, C, H, W).
            upto: return the first ``upto`` maps alone, and run nothing behind them; default all. Networks that make
                their maps side by side or at the end (HRNet, CrossViT) are run whole, or nearly.

        Raises:
            ValueError: ``upto`` is not between 1 and the number of maps.
        """
        if upto is not None:
            check_one_of("upto", upto, range(1, len(self._indices) + 1))
        if upto is not None and upto < len(self._indices):
            first = self._indices[:upto]
            maps = self.net.forward_intermediates(
                images, indices=first, output_fmt="NCHW", stop_early=True, intermediates_only=True
            )
            return tuple(maps)
        x, maps = self.net.forward_intermediates(images, indices=self._indices, output_fmt="NCHW")
        return (*maps[:-1], self.finish(x, maps[-1].shape[2:]))


def _check_size(img_size: int | Sequence[int] | None) -> None:
    """Raise ValueError unless ``img_size`` is a height and a width, one number for both, or None."""
    sides = img_size if isinstance(img_size, Sequence) else (img_size, img_size)
    if img_size is not None and (len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides)):
        raise ValueError(f"img_size must be an integer of at least 1, or a height and a width, got {img_size!r}")


def _build(name: str, arguments: Mapping[str, Any], pretrained: bool) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    except Exception as error:  # of the hub, of its HTTP client, of torch, of the file system
        if not pretrained:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the weights of {name} could not be loaded (pretrained=True): {reason}. They are downloaded when first "
            "used; without a network, copy the cache (HF_HOME) of a machine that has them"
        ) from error


def _draft(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the network on the meta device, which costs next to nothing, or raise ValueError."""
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        near = timm.list_models(f"{name}*") or difflib.get_close_matches(name, known) or timm.list_models(f"*{name}*")
        hint = f"did you mean {', '.join(near[:5])}?" if near else "timm.list_models() lists those that there are"
        raise ValueError(f"timm {timm.__version__} has no network {name!r}; {hint}")
    try:
        with torch.device("meta"):
            net = _build(name, arguments, pretrained=False)
    except Exception as error:  # timm says in any way what it finds wrong with its arguments
        if isinstance(error, TypeError) and "'img_size'" in str(error):
            raise ValueError(f"{name} takes no img_size: it is made for any size, leave it out") from error
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(f"timm {timm.__version__} cannot build {name} with {given}: {error}") from error
    if not (hasattr(net, "forward_intermediates") and hasattr(net, "feature_info")):
        raise ValueError(f"timm {timm.__version__} yields no intermediate maps of {name}; a later one may")
    return net
