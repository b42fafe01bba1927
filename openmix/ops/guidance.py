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

from openmix.ops.attention import AttentionTap

__all__ = [
    "LOSS_SCALE", "check_logits", "class_activation", "input_gradient", "last_map", "rms_over_channels", "run_in",
    "serve", "unwrap",
]  # fmt: skip


LOSS_SCALE = 1024.0  # so that gradients do not vanish in float16: the authors of R-Mix train with it


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
        mode: 'eval', or 'train', which is what lets BatchNorm's running statistics move. A module that is in mode
            'train' already is left as it is, with the parts of it that are not.
        modules: roots.
    """
    before = [(m, m.training) for root in modules for m in root.modules()]
    try:
        for root in modules:
            if mode == "eval" or not root.training:  # of a network that trains, what is frozen stays so
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
    with torch.inference_mode(False), torch.enable_grad():
        x = images.detach().clone().requires_grad_()
        # the network is given another copy, as it may write into it
        loss = F.cross_entropy(check_logits(predict(x.clone()), len(x)).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(LOSS_SCALE * loss, x)
    torch.clear_autocast_cache()  # weights cast within this pass would bring its graph into the next
    return rms_over_channels(gradient.float() / LOSS_SCALE)


def check_logits(logits: Any, batch_size: int) -> Tensor:
    """Return what a network says of a batch, or raise TypeError unless that is (B, num_classes)."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != batch_size:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"the network must return logits ({batch_size}, num_classes), got {got}")
    return logits


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
    # not a product of matrices, which autocast would round
    return (features.float() * weight.detach().float()[labels][:, :, None, None]).sum(1)


@torch.no_grad()
def last_map(model: nn.Module, images: Tensor) -> Tensor:
    """Return the last feature map (B, C, h, w) that a network computes on its way to logits.

    That is the last output of any module in it that has three dimensions beside the batch's and more than one place; of
    a network that returns a tuple of maps, the last of these. A network that goes on with tokens, or with a deeper map
    of one place, has none, and nor has one whose classifier takes another dimension than the channels for its own.

    Raises:
        TypeError: it computes none.
    """
    found: list[Tensor] = []

    def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == 4 and output.shape[2:].numel() > 1:
            found[:] = [output]
        elif output.ndim == 3 or (output.ndim == 4 and found and output.shape[1] != found[0].shape[1]):
            found.clear()

    handles = [m.register_forward_hook(look) for m in model.modules()]
    try:
        output = model(images)
    finally:
        for handle in handles:
            handle.remove()
    if isinstance(output, tuple | list) and isinstance(output[-1], Tensor) and output[-1].ndim == 4:
        return output[-1]
    widths = {m.in_features for m in model.modules() if isinstance(m, nn.Linear)}
    if not found or (found[0].shape[3] in widths and found[0].shape[1] not in widths):
        raise TypeError(
            f"{type(model).__name__} ends in no feature map (B, C, h, w) of more than one place for these images: pass "
            "features= or cam= yourself"
        )
    return found[0]


def serve(
    needs: Sequence[str], model: nn.Module, images: Tensor, labels: Tensor, mode: str = "eval"
) -> dict[str, Tensor]:
    """Compute what a method needs on a user's own network, in the type of its weights.

    That is ``saliency``, ``attention``, ``rollout``, ``features`` or ``cam``, as ``docs/guided.md`` lists them.

    Args:
        needs: their names.
        model: images -> logits.
        images: floating (B, C, H, W).
        labels: int64 (B,).
        mode: 'eval' or 'train', see :func:`run_in`.

    Raises:
        TypeError: the network cannot serve one of them, or is no module that returns logits.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    model = unwrap(model)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), images.dtype)
    images = images.detach().to(dtype)
    with run_in(mode, model):
        return {need: _PROVIDERS[need](model, images, labels) for need in needs}


def _saliency(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return input_gradient(model, images, labels)


def _features(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return last_map(model, images.clone())


def _cam(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    features = last_map(model, images.clone())
    classifiers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.in_features == features.shape[1]]
    if not classifiers:
        raise TypeError(
            f"{type(model).__name__} has no linear classifier of its last map's {features.shape[1]} channels: pass cam="
        )
    return class_activation(features, classifiers[-1].weight, labels)


def _attention(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return _recorded(model, images).attention()


def _rollout(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return _recorded(model, images).rollout()


@torch.no_grad()
def _recorded(model: nn.Module, images: Tensor) -> AttentionTap:
    """Run a transformer on images, and return what has seen it."""
    tap: Any = getattr(model, "_openmix_tap", None)  # with its hooks, it stays with the network
    if tap is None:
        try:
            tap = AttentionTap(model)
        except ValueError as error:
            raise TypeError(str(error)) from error
        model._openmix_tap = tap  # type: ignore[assignment]  hooks are installed once a network
    with tap.recording():
        model(images.clone())
    return tap


_PROVIDERS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": _saliency,
    "attention": _attention,
    "rollout": _rollout,
    "features": _features,
    "cam": _cam,
}
