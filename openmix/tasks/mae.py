"""Masked autoencoding: hide most of an image's patches and learn to say what was there."""

from typing import Any

import torch
from torch import Tensor, nn

from openmix.models.backbones import TimmBackbone
from openmix.models.heads import ClsHead
from openmix.models.mae_decoder import MAEDecoder, begin_as_mae
from openmix.models.sincos import sincos_positions
from openmix.ops.masked_patches import (
    Masking,
    count_visible,
    draw_masking,
    normalise_patches,
    patchify,
    unpatchify,
)
from openmix.tasks.context import StepContext
from openmix.tasks.selfsup import Learnt, SelfSupervised

__all__ = ["MAE"]

PARTS = ("patch_embed", "cls_token", "pos_embed", "blocks", "norm")  # of a plain ViT


class MAE(SelfSupervised):
    """A vision transformer sees a quarter of the patches; a small decoder says what the others are.

    Kaiming He et al. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022, arXiv:2111.06377.

    The loss is the mean squared error over the removed patches' pixels, each patch of mean 0 and variance 1, in
    float32. Positions are sines and cosines, which pre-training leaves as they are; they are the network's
    ``pos_embed``, which fine-tuning trains. The network begins by the authors' rule whatever it was built with;
    ``load_from`` gives it other weights.

    The online probe is trained on what the network makes of the patches that it saw, pooled as its ``backbone`` pools
    (a class token, or their mean), and is validated on whole images. It therefore says less of a trunk than it does
    of a contrastive one's, and of masked autoencoders at small sizes a linear probe says little: fine-tune.

    Args:
        backbone: a ``TimmBackbone`` of a plain ViT, its final norm before the pooling, as timm has it by default.
        probe: pooled features -> logits, and their loss.
        decoder: encoded patches -> pixels.
        neck: feature maps -> pooled features, without weights; default global average pooling.
        mask_ratio: the share of patches that is removed, in (0, 1). Default 0.75, the paper's.
        norm_pix_loss: whether each patch is brought to mean 0 and variance 1, which the paper found to be better.

    Raises:
        ValueError: another network, a neck with weights, a ratio that leaves no patch or removes none.
    """

    views_needed = most_views = 1
    backbone: TimmBackbone

    def __init__(
        self,
        backbone: nn.Module,
        probe: ClsHead,
        decoder: MAEDecoder,
        neck: nn.Module | None = None,
        mask_ratio: float = 0.75,
        norm_pix_loss: bool = True,
    ) -> None:
        super().__init__(backbone, probe, neck)
        net = _plain_vit(backbone)
        if any(True for _ in self.neck.parameters()):
            raise ValueError(f"MAE: {type(self.neck).__name__} has weights, which no gradient would reach")
        self.grid, self.patch = tuple(net.patch_embed.grid_size), tuple(net.patch_embed.patch_size)
        self.patches = self.grid[0] * self.grid[1]
        count_visible(self.patches, mask_ratio)
        self.mask_ratio, self.norm_pix_loss = mask_ratio, norm_pix_loss
        _begin(net, self.grid)
        self.decoder = decoder
        decoder.attach(self.grid, self.patch[0] * self.patch[1] * net.in_chans, net.num_prefix_tokens)

    @property
    def net(self) -> Any:
        """timm's network in the backbone."""
        return self.backbone.net

    def compiled(self) -> list[nn.Module]:
        """Return the encoder's blocks and the decoder; the encoder as a whole is only evaluated."""
        return [self.net.blocks, self.decoder]

    def encode(self, images: Tensor, masking: Masking) -> Tensor:
        """Return the tokens (B, P + V, C) of the patches that are seen, behind P that are of no place."""
        net = self.net
        tokens = net.patch_embed(images)
        count = net.pos_embed.shape[1] - self.patches  # how many of the prefix have positions
        tokens = tokens + net.pos_embed[:, count:]
        tokens = tokens.gather(1, masking.seen[:, :, None].expand(-1, -1, tokens.shape[2]))
        prefix = [t.expand(len(tokens), -1, -1) for t in (net.cls_token, net.reg_token) if t is not None]
        if prefix:
            before = torch.cat(prefix, dim=1)
            before = before + net.pos_embed[:, :count] if count else before
            tokens = torch.cat([before.to(tokens.dtype), tokens], dim=1)
        return net.norm(net.blocks(net.norm_pre(net.pos_drop(tokens))))

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return the loss of reconstructing the first view, and the pooled features of what was seen of it."""
        images = views[0]
        masking = self._draw(images, context.generator("mask"))
        encoded = self.encode(images, masking)
        predicted = self.decoder(encoded, masking.back).float()
        targets = patchify(images.float(), self.patch)
        if self.norm_pix_loss:
            targets, _, _ = normalise_patches(targets)
        errors = (predicted - targets).square().mean(2)
        hidden = len(images) * (self.patches - masking.seen.shape[1])
        loss = (errors * masking.removed).sum() / hidden
        # without a gradient: the probe takes none to the trunk
        features = self.neck((self.backbone.finish(encoded.detach(), (encoded.shape[1], 1)),))
        return Learnt(loss, features, {})

    @torch.no_grad()
    def reconstruct(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return which patches were hidden, and what the network says of all of them.

        Args:
            images: normalised (B, C, H, W).
            generator: a CPU generator, for the mask.

        Returns:
            bool (B, N), row by row, True where a patch was removed; and images (B, C, H, W) float32, normalised as
            those that came in. With ``norm_pix_loss`` the network knows each patch but for its mean and scale: those
            are the true patch's.
        """
        masking = self._draw(images, generator)
        patches = self.decoder(self.encode(images, masking), masking.back).float()
        if self.norm_pix_loss:
            _, means, scales = normalise_patches(patchify(images.float(), self.patch))
            patches = patches * scales + means
        return masking.removed, unpatchify(patches, self.patch, self.grid)

    def _draw(self, images: Tensor, generator: torch.Generator) -> Masking:
        return draw_masking(len(images), self.patches, self.mask_ratio, generator).to(images.device)


def _plain_vit(backbone: nn.Module) -> Any:
    """Return timm's network in a backbone, or raise ValueError that says what it lacks."""
    from timm.models.vision_transformer import VisionTransformer

    net: Any = backbone.net if isinstance(backbone, TimmBackbone) else backbone
    name, plain = type(net).__name__, "MAE needs a plain ViT of timm, such as TimmBackbone's vit_base_patch16_224"
    missing = [part for part in PARTS if not hasattr(net, part)]
    if missing:
        raise ValueError(f"{plain}; {name} has no {', '.join(missing)}")
    if type(net) is not VisionTransformer or net is backbone:
        raise ValueError(f"{plain}; {name} is of another kind")
    wrong = {
        "no pos_embed": net.pos_embed is None,
        "no norm before the pooling (write model_args=dict(fc_norm=False))": isinstance(net.norm, nn.Identity),
        "attention pooling, which no gradient would reach": net.attn_pool is not None,
        "dynamic_img_size": net.dynamic_img_size,
        "dropout of patches": not isinstance(net.patch_drop, nn.Identity),
    }
    if any(size % side for size, side in zip(net.patch_embed.img_size, net.patch_embed.patch_size, strict=True)):
        size, patch = tuple(net.patch_embed.img_size), tuple(net.patch_embed.patch_size)
        raise ValueError(f"MAE: patches of {patch} pixels do not divide images of {size}; choose another patch_size")
    if found := [what for what, is_so in wrong.items() if is_so]:
        raise ValueError(f"{plain}; this one has {', '.join(found)}")
    return net


@torch.no_grad()
def _begin(net: Any, grid: tuple[int, int]) -> None:
    """Let an encoder begin by the authors' rule, its positions fixed."""
    begin_as_mae(net)
    nn.init.xavier_uniform_(net.patch_embed.proj.weight.flatten(1))
    for token in (net.cls_token, net.reg_token):
        if token is not None:
            nn.init.normal_(token, std=0.02)
    positions = sincos_positions(net.embed_dim, grid)
    net.pos_embed.zero_()[0, -len(positions) :] = positions
    net.pos_embed.requires_grad_(False)
