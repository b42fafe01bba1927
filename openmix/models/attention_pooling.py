"""Pooling by attention: a learnt query looks at all places of a map."""

from collections.abc import Sequence

from torch import Tensor, nn

from openmix.errors import UserError
from openmix.ops.checks import check_integer

__all__ = ["AttentionPooling"]


class AttentionPooling(nn.Module):
    """Attention of one learnt query over the places of the last feature map: (B, C, h, w) -> (B, C).

    timm's ``AttentionPoolLatent``, with a norm and an MLP behind the attention, as in SigLIP and in probes of masked
    autoencoders. It takes the place of global average pooling wherever a task has a ``neck``, and is trained with the
    head: in a probe the trunk alone is frozen. A vision transformer with a class token hands on that token and no map;
    of one without (``model_args=dict(class_token=False, global_pool='avg', fc_norm=False)``) this pools the tokens.

    Args:
        in_channels: of the map, divisible by ``num_heads``; a config may leave it out.
        num_heads: heads of the attention. Default 8, timm's.

    Attributes:
        out_channels: as many as come in.

    Raises:
        ValueError: a number out of range.
        UserError: at the call, a map of one place, which is pooled already.

    >>> import torch
    >>> AttentionPooling(16, num_heads=4)((torch.rand(2, 16, 3, 5),)).shape
    torch.Size([2, 16])
    """

    def __init__(self, in_channels: int, num_heads: int = 8) -> None:
        super().__init__()
        from timm.layers.attention_pool import AttentionPoolLatent  # takes seconds to import

        check_integer("in_channels", in_channels, 1)
        check_integer("num_heads", num_heads, 1)
        if in_channels % num_heads:
            raise ValueError(f"num_heads must divide in_channels={in_channels}, got {num_heads}")
        self.out_channels = in_channels
        self.pool = AttentionPoolLatent(in_channels, num_heads=num_heads, norm_layer=nn.LayerNorm)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Pool the last of ``features``."""
        last = features[-1]
        if last.shape[2:] == (1, 1):
            raise UserError(
                "AttentionPooling needs a map of several places, and this network's last one is pooled already; of a "
                "ViT take model_args=dict(class_token=False, global_pool='avg', fc_norm=False), or timm's own "
                "attention: model_args=dict(global_pool='map')"
            )
        return self.pool(last.flatten(2).mT)
