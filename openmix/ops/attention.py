"""What a vision transformer attends to, read off its blocks while it runs, fused attention or not.

Fused kernels never write the attention matrix down. So a hook at each block's projection keeps the queries and keys,
and the rows that are asked for are computed from them, in float32. The hooks are installed once, before the network is
compiled, and are empty until a step arms them: torch does not look for hooks added later.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AttentionTap"]


class AttentionTap:
    """Records a forward pass of timm's vision transformers (ViT, DeiT, distilled ones, with registers or without).

    State-dict keys do not change. A deep copy of a module that owns both the network and its tap records by its own
    hooks. A recording is read once, by :meth:`attention` or :meth:`rollout`, and then let go, as it holds on to the
    projections of all blocks. Dropout and stochastic depth do not show in it: attention is what the softmax says.

    Args:
        network: a transformer, or any module that has one in it.

    Raises:
        ValueError: there is none, or it attends in a way that is not read here: windows, relative or rotary positions,
            or patches that are dropped.

    >>> import timm
    >>> net = timm.create_model("test_vit", img_size=32, patch_size=4).eval()
    >>> tap = AttentionTap(net)
    >>> with torch.no_grad(), tap.recording():
    ...     logits = net(torch.rand(2, 3, 32, 32))
    >>> tap.attention().shape
    torch.Size([2, 8, 8])
    """

    def __init__(self, network: nn.Module) -> None:
        transformer: Any = _find_transformer(network)
        self._prefix = int(transformer.num_prefix_tokens)
        # the class token, which comes first; or all patches, where these are averaged instead
        self._seers = slice(0, 1) if transformer.has_class_token else slice(self._prefix, None)
        self._embed = transformer.patch_embed
        self._patches = _Keeper(self._embed)
        self._blocks = [(block.attn, _Keeper(block.attn.qkv)) for block in transformer.blocks]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the forward pass within this context; what was recorded before is forgotten."""
        keepers = [self._patches, *(keeper for _, keeper in self._blocks)]
        for keeper in keepers:
            keeper.armed, keeper.kept = True, None
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.armed = False

    @torch.no_grad()
    def attention(self) -> Tensor:
        """Return how much the class token attends to each patch in the last block.

        That is its row of the softmax over all tokens, averaged over heads. Networks without a class token average the
        rows of all patches.

        Returns:
            float32 (B, h, w) at the patch grid, >= 0. A map sums up to 1 less what falls on class token and registers.

        Raises:
            RuntimeError: nothing was recorded, or it was read before.
        """
        attn, qkv = self._read()[-1]
        return self._on_grid(_rows(attn, qkv, self._seers).mean((1, 2)))

    @torch.no_grad()
    def rollout(self) -> Tensor:
        """Return each patch's share in the class token after all blocks, by TL-Align's rule (arXiv:2210.06455).

        With ``A`` a block's attention averaged over heads, the tokens' labels ``Y`` become ``(A Y + Y) / 2`` in it,
        where the second term stands for the residual connection. As that is linear, one row of the product over all
        blocks says what becomes of any labels. Networks without a class token average the rows of all patches.

        Returns:
            float32 (B, h, w) at the patch grid, >= 0. A map sums up to 1 less what is left of the labels that class
            token and registers had in the beginning.

        Raises:
            RuntimeError: nothing was recorded, or it was read before.
        """
        *earlier, (attn, qkv) = self._read()
        rows = _rows(attn, qkv, self._seers).mean((1, 2))
        start = torch.zeros_like(rows)
        start[:, self._seers] = 1
        share = (rows + start / start.sum(1, keepdim=True)) / 2
        for attn, qkv in reversed(earlier):
            matrix = _rows(attn, qkv, slice(None)).mean(1)
            share = ((share[:, :, None] * matrix).sum(1) + share) / 2
        return self._on_grid(share)

    def _read(self) -> list[tuple[Any, Tensor]]:
        """Return each block's attention module and what was projected in it, and let go of that."""
        read = [(attn, keeper.kept) for attn, keeper in self._blocks if keeper.kept is not None]
        if len(read) < len(self._blocks) or self._patches.kept is None:
            raise RuntimeError("no forward pass was recorded, or it was read before: a recording is read once")
        for _, keeper in self._blocks:
            keeper.kept = None
        return read

    def _on_grid(self, row: Tensor) -> Tensor:
        """Return what falls on each patch as a map (B, h, w), for all tokens (B, N)."""
        patches = self._patches.kept
        assert patches is not None  # _read saw to it
        # where images may have any size, timm's patches come as a map (B, h, w, C)
        grid = patches.shape[1:3] if patches.ndim == 4 else self._embed.grid_size
        self._patches.kept = None
        return row[:, self._prefix :].unflatten(1, tuple(grid))


class _Keeper:
    """A forward hook that keeps a module's output while it is armed.

    It is an object, not a closure, so that a copied or pickled network takes its own along.
    """

    def __init__(self, module: nn.Module) -> None:
        self.armed = False
        self.kept: Tensor | None = None
        module.register_forward_hook(self)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if self.armed:
            self.kept = output.detach()

    def __getstate__(self) -> dict[str, Any]:
        return {"armed": False, "kept": None}  # a copy made while armed would keep for ever


def _rows(attn: Any, qkv: Tensor, queries: slice) -> Tensor:
    """Return rows of a block's attention: float32 (B, heads, queries, N), each summing to 1."""
    q, k, _ = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = attn.q_norm(q[:, :, queries]).float(), attn.k_norm(k).float()
    device = qkv.device.type if qkv.device.type != "meta" else "cpu"
    with torch.autocast(device, enabled=False):
        return (q @ k.transpose(-2, -1) * attn.scale).softmax(-1)


def _find_transformer(network: nn.Module) -> nn.Module:
    """Return the vision transformer in a network, or raise ValueError that says what is in the way."""
    name = type(network).__name__
    for module in network.modules():
        if all(hasattr(module, part) for part in ("patch_embed", "blocks", "num_prefix_tokens", "has_class_token")):
            reason = _unreadable(module)
            if reason:
                raise ValueError(f"the attention of {type(module).__name__} cannot be read: {reason}")
            return module
    raise ValueError(
        f"{name} has no attention of a class token to patches: it takes a vision transformer of timm, such as "
        "vit_small_patch16_224 or deit_small_patch16_224"
    )


def _unreadable(transformer: Any) -> str:
    """Return why a transformer's attention cannot be read, or nothing."""
    if not isinstance(getattr(transformer, "patch_drop", nn.Identity()), nn.Identity):
        return "patch_drop_rate drops patches"
    for block in transformer.blocks:
        attn = getattr(block, "attn", None)
        parts = ("qkv", "q_norm", "k_norm", "num_heads", "scale")
        if attn is None or not all(hasattr(attn, part) for part in parts) or not isinstance(attn.qkv, nn.Linear):
            return f"{type(block).__name__} has no plain queries and keys"
        inputs = inspect.signature(attn.forward).parameters
        # positions enter as an argument or as parameters of the module itself, as do differences of two softmaxes
        if "rope" in inputs or any(True for _ in attn.parameters(recurse=False)):
            return f"{type(attn).__name__} adds something to the product of queries and keys"
    return ""
