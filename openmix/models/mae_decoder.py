"""The decoder of a masked autoencoder: a few transformer blocks that see every place."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from openmix.models.sincos import sincos_positions
from openmix.ops.checks import check_integer

__all__ = ["MAEDecoder", "begin_as_mae"]


class MAEDecoder(nn.Module):
    """From what an encoder says of the patches that it saw to the pixels of all patches.

    Kaiming He et al. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022, arXiv:2111.06377.

    The encoder's tokens are brought to the decoder's width; one learnt token stands for every hidden patch; all get
    fixed positions of sines and cosines and go through timm's transformer blocks. The defaults are the paper's for
    ImageNet; for 32x32 images some 200 channels and 4 blocks do (IcarusWizard/MAE).

    How many patches there are and how many values each has, the encoder knows: :meth:`attach` is told, once.

    Args:
        in_channels: of the encoder's tokens; a config may leave it out.
        embed_dim: channels of the decoder's tokens, divisible by 4 and by ``num_heads``.
        depth: blocks.
        num_heads: heads of each block's attention.

    Raises:
        ValueError: a number out of range.
    """

    positions: Tensor

    def __init__(self, in_channels: int, embed_dim: int = 512, depth: int = 8, num_heads: int = 16) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block  # takes seconds to import

        numbers = (("in_channels", in_channels), ("embed_dim", embed_dim), ("depth", depth), ("num_heads", num_heads))
        for name, value in numbers:
            check_integer(name, value, 1)
        if embed_dim % num_heads or embed_dim % 4:
            raise ValueError(f"embed_dim must be divisible by 4 and by num_heads={num_heads}, got {embed_dim}")
        self.embed_dim = embed_dim
        self.embed = nn.Linear(in_channels, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        )
        self.norm = norm(embed_dim)
        self.to_pixels: nn.Linear | None = None

    def attach(self, grid: tuple[int, int], values: int, prefix: int) -> None:
        """Take notice of what is to be reconstructed, and begin with weights by the authors' rule.

        Args:
            grid: rows and columns of patches.
            values: numbers in a patch.
            prefix: how many of the encoder's tokens are of no place, such as a class token; they come first.
        """
        place = self.mask_token.device
        self.prefix = prefix
        self.to_pixels = nn.Linear(self.embed_dim, values, device=place)
        self.register_buffer("positions", sincos_positions(self.embed_dim, grid).to(place), persistent=False)
        begin_as_mae(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, back: Tensor) -> Tensor:
        """Return the pixels of all patches, in order: (B, N, values).

        Args:
            tokens: the encoder's, (B, prefix + V, in_channels), V of them of patches that were seen.
            back: int64 (B, N), which of the V seen and N - V hidden ones, in this order, each patch is.
        """
        assert self.to_pixels is not None, "attach() comes first"
        x = self.embed(tokens)
        before, seen = x[:, : self.prefix], x[:, self.prefix :]
        batch_size, patches = back.shape
        hidden = self.mask_token.to(x.dtype).expand(batch_size, patches - seen.shape[1], -1)
        places = torch.cat([seen, hidden], dim=1).gather(1, back[:, :, None].expand(-1, -1, self.embed_dim))
        x = torch.cat([before, (places + self.positions).to(x.dtype)], dim=1)
        return self.to_pixels(self.norm(self.blocks(x))[:, self.prefix :])


def begin_as_mae(module: nn.Module) -> None:
    """Draw the weights of all linear layers by Glorot's uniform rule; their biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
