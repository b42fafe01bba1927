"""What guided methods want to know of a network: where its loss is sensitive, and what its last map shows.

Nothing here touches the network's gradients, and in mode 'eval' nothing at all: each module gets back the mode that it
was in. All passes run on the module itself, not on what DistributedDataParallel or ``torch.compile`` wrap around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["class_activation", "input_gradient", "last_map", "rms_over_channels", "run_in", "serve", "unwrap"]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module within DistributedDataParallel, DataParallel or ``torch.compile``."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@contextmanager
def run_in(mode: str, *modules: nn.Module) -> Iterator[None]:
    """Put modules, and those in them, into a mode, and each back into its own afterwards.

    Args:
        mode: 'eval', or 'train', which is what lets BatchNorm's running statistics move.
        modules: roots.
    """
    before = [(m, m.training) for root in modules for m in root.modules()]
    try:
        for root in modules:
            root.train(mode == "train")
        yield
    finally:
        for m, training in before:
            m.training = training


def input_gradient(predict: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the saliency of each pixel: the root mean square, over channels, of the loss's gradient by the image.

    The loss is each image's own cross entropy, and their sum: in mode 'eval', where images do not meet in BatchNorm, an
    image's map does not depend on the others. Parameters get no gradient.

    Args:
        predict: images -> logits (B, num_classes), differentiable.
        images: floating (B, C, H, W).
        labels: int64 (B,).

    Returns:
        float32 (B, H, W), >= 0.

    >>> input_gradient(lambda x: x.sum((2, 3)), torch.zeros(1, 2, 4, 4), torch.tensor([0]))[0, 0, 0]
    tensor(0.5000)
    """
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        loss = F.cross_entropy(predict(x).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
    torch.clear_autocast_cache()  # weights cast within this pass would bring its graph into the next
    return rms_over_channels(gradient)


def rms_over_channels(gradient: Tensor) -> Tensor:
    """Return the root mean square over channels in float32: (B, H, W) for (B, C, H, W)."""
    return gradient.float().square().mean(1).sqrt()


def class_activation(features: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return each image's class activation map (Zhou et al., CVPR 2016) of its own label: float32 (B, h, w).

    Args:
        features: (B, C, h, w), what is averaged over space and then classified.
        weight: (num_classes, C), the linear classifier's.
        labels: int64 (B,).
    """
    return torch.einsum("bchw,bc->bhw", features.float(), weight.detach().float()[labels])


@torch.no_grad()
def last_map(model: nn.Module, images: Tensor) -> Tensor:
    """Return the last feature map (B, C, h, w) that a network computes on its way to logits.

    That is the last output of any module in it that has three dimensions beside the batch's and more than one place; of
    a network that returns a tuple of maps, the last of these.

    Raises:
        TypeError: it computes none.
    """
    found: list[Tensor] = []

    def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            found[:] = [output]

    handles = [m.register_forward_hook(look) for m in model.modules()]
    try:
        output = model(images)
    finally:
        for handle in handles:
            handle.remove()
    if isinstance(output, tuple | list) and isinstance(output[-1], Tensor) and output[-1].ndim == 4:
        return output[-1]
    if not found:
        raise TypeError(f"{type(model).__name__} computes no feature map (B, C, h, w): pass features= or cam= yourself")
    return found[0]


def serve(
    needs: Sequence[str], model: nn.Module, images: Tensor, labels: Tensor, mode: str = "eval"
) -> dict[str, Tensor]:
    """Compute what a method needs on a user's own network.

    That is ``saliency``, ``attention``, ``rollout``, ``features`` or ``cam``, as ``docs/guided.md`` lists them.

    Args:
        needs: their names.
        model: images -> logits.
        images: floating (B, C, H, W).
        labels: int64 (B,).
        mode: 'eval' or 'train', see :func:`run_in`.

    Raises:
        TypeError: the network cannot serve one of them.
    """
    model = unwrap(model)
    with run_in(mode, model):
        return {need: _PROVIDERS[need](model, images, labels) for need in needs}


def _saliency(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return input_gradient(model, images, labels)


def _features(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return last_map(model, images)


def _cam(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    features = last_map(model, images)
    classifiers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.in_features == features.shape[1]]
    if not classifiers:
        raise TypeError(
            f"{type(model).__name__} has no linear classifier of its last map's {features.shape[1]} channels: pass cam="
        )
    return class_activation(features, classifiers[-1].weight, labels)


@torch.no_grad()
def _attention(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    tap = _tap(model)
    with tap.recording():
        model(images)
    return tap.attention()


@torch.no_grad()
def _rollout(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    tap = _tap(model)
    with tap.recording():
        model(images)
    return tap.rollout()


def _tap(model: nn.Module) -> Any:
    from openmix.ops.attention import AttentionTap

    tap = getattr(model, "_openmix_tap", None)
    if tap is None:
        try:
            tap = AttentionTap(model)
        except ValueError as error:
            raise TypeError(str(error)) from error
        model._openmix_tap = tap  # type: ignore[assignment]  hooks are installed once a network
    return tap


_PROVIDERS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": _saliency,
    "attention": _attention,
    "rollout": _rollout,
    "features": _features,
    "cam": _cam,
}
