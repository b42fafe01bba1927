"""What a network of timm is like: which modules make its maps, and how it pools them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Anatomy", "examine"]

aten = torch.ops.aten
RESHAPES = {aten.alias, aten.slice, aten.view, aten.as_strided_, aten.squeeze, aten.unsqueeze}


@dataclass(frozen=True)
class Anatomy:
    """What openmix has to know of a network of timm.

    Attributes:
        indices: which of timm's intermediate maps are taken.
        stage_names: the modules whose outputs they are, or none.
        channels_last: whether those modules' outputs are (B, h, w, C), as Swin's, and not (B, C, h, w) or (B, N, C).
        out_channels: channels of each map, the last one pooled.
        channel_dim: where the final features have their channels if they are pooled by the plain mean over all places;
            None if they are pooled otherwise.
    """

    indices: list[int]
    stage_names: tuple[str, ...]
    channels_last: bool
    out_channels: tuple[int, ...]
    channel_dim: int | None


def examine(network: nn.Module, images: Tensor) -> Anatomy:
    """Run a network of timm and see what it does. Nothing is computed where network and images are on the meta device.

    Args:
        network: in training mode, so that dropout shows.
        images: (B, C, H, W).

    Raises:
        ValueError: the network cannot run on such images, or does not pool.
    """
    info = [network.feature_info[i] for i in range(len(network.feature_info))]
    indices = _take([i["reduction"] for i in info])
    names = [info[i]["module"] for i in indices]
    outputs: list[tuple[str, Any]] = []
    handles = [m.register_forward_hook(_marker(name, outputs)) for name, m in network.named_modules() if name in names]
    try:
        with torch.device(images.device), torch.no_grad():
            x, maps = network.forward_intermediates(images, indices=indices, output_fmt="NCHW")
            with _Operations() as operations:
                pooled = network.forward_head(x, pre_logits=True)
    except Exception as error:  # timm and torch have many ways to say that a size does not fit
        shape = tuple(images.shape)
        raise ValueError(f"{type(network).__name__} cannot run on images of shape {shape}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    if pooled.ndim != 2:
        raise ValueError(f"the network pools to {tuple(pooled.shape)} and not to (B, C): is global_pool left empty?")
    named = [name for name, _ in outputs] == names and all(map(_is_map, (out for _, out in outputs), maps))
    layouts = {out is not m for (_, out), m in zip(outputs, maps, strict=False) if named and out.ndim == 4}
    return Anatomy(
        indices=indices,
        stage_names=tuple(names) if named and len(layouts) < 2 else (),
        channels_last=layouts == {True},
        out_channels=(*(m.shape[1] for m in maps[:-1]), pooled.shape[1]),
        channel_dim=_channel_dim(x, maps[-1], operations.calls),
    )


def _take(reductions: Sequence[int]) -> list[int]:
    """Choose among timm's intermediate maps: the last four, or four at quarters of the depth if all are of one size."""
    count = len(reductions)
    if count > 4 and len(set(reductions)) == 1:
        return [count * k // 4 - 1 for k in (1, 2, 3, 4)]
    return list(range(max(0, count - 4), count))


def _marker(name: str, outputs: list[tuple[str, Any]]) -> Callable[..., Any]:
    """Return a hook that replaces a module's output by a copy, and notes that."""

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        marked = output.clone() if isinstance(output, Tensor) else output
        outputs.append((name, marked))
        return marked

    return hook


def _is_map(marked: Any, feature_map: Tensor) -> bool:
    """Whether what a hook put in place is that map, or can be it in another layout, (B, h, w, C) or (B, N, C)."""
    if not isinstance(marked, Tensor):
        return False
    return marked is feature_map or (marked.shape != feature_map.shape and marked.shape[-1] == feature_map.shape[1])


class _Operations(TorchDispatchMode):
    """Notes every operator that is run, and its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls.append((func.overloadpacket, args))
        return func(*args, **(kwargs or {}))


def _channel_dim(x: Any, feature_map: Tensor, head: Sequence[tuple[Any, tuple[Any, ...]]]) -> int | None:
    """Return where the final features have their channels if all that the head does is to average the places."""
    means = [args for operation, args in head if operation is aten.mean]
    others = {operation for operation, _ in head} - {aten.mean} - RESHAPES
    if others or len(means) != 1 or not isinstance(x, Tensor) or means[0][0].shape != x.shape:
        return None
    kept = set(range(1, x.ndim)) - {dim % x.ndim for dim in means[0][1]}
    if len(kept) != 1:
        return None
    dim = kept.pop()
    places = x[0].numel() // x.shape[dim]
    return dim if x.ndim == 4 or places == feature_map[0, 0].numel() else None  # else class tokens are averaged too
