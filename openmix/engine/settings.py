"""The plain sections of a config, as dataclasses: their fields are the keys, their defaults the defaults."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from openmix.errors import UserError

__all__ = [
    "NESTED",
    "SECTIONS",
    "CheckpointHook",
    "ClipGrad",
    "DefaultHooks",
    "DistCfg",
    "EnvCfg",
    "KnnCfg",
    "LoggerHook",
    "OptimWrapper",
    "ParamwiseCfg",
    "Preprocessor",
    "Randomness",
    "TrainCfg",
    "ValCfg",
]

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
METRICS = ("top1", "top5", "nll", "ece")  # of every task, for best.pth


@dataclass(frozen=True)
class TrainCfg:
    """``train_cfg``: how long to train and how often to validate.

    Attributes:
        max_epochs: epochs to train; exactly one of this and ``max_iters`` is given.
        max_iters: optimizer steps to train.
        val_interval: validate every so many epochs (with ``max_epochs``) or steps (with ``max_iters``), and at the end;
            None is once an epoch.
        compile: compile with ``torch.compile`` what the task names: the backbone, and its other large networks. True is
            torch's default mode; else a mode by name: 'reduce-overhead' has a GPU replay a recorded step of the
            network, for networks so small that launching their kernels takes longer than computing them,
            'max-autotune' tries several kernels for each operation first. Both want one batch size throughout.
        channels_last: whether convolutions' weights, and with them the feature maps, have the channels of a pixel side
            by side, the layout of the fast kernels in half precision. None, the default, is that in mixed precision,
            where the backbone has several convolutions, and torch's own layout in float32, whose losses it would
            change in their last digits.
    """

    max_epochs: int | None = None
    max_iters: int | None = None
    val_interval: int | None = None
    compile: bool | CompileMode = False
    channels_last: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.compile, bool) and self.compile not in get_args(CompileMode):
            modes = ", ".join(map(repr, get_args(CompileMode)))
            raise ValueError(f"compile must be True, False or one of {modes}; got {self.compile!r}")
        lengths = f"max_epochs={self.max_epochs}, max_iters={self.max_iters}"
        if (self.max_epochs is None) == (self.max_iters is None):
            raise ValueError(f"one of max_epochs and max_iters must be a number, the other None; got {lengths}")
        if (self.max_epochs or self.max_iters or 0) < 1:
            raise ValueError(f"a run takes at least 1 epoch or step, got {lengths}")
        if self.val_interval is not None and self.val_interval < 1:
            raise ValueError(f"val_interval must be at least 1, got {self.val_interval}")


@dataclass(frozen=True)
class KnnCfg:
    """``val_cfg.knn``: classify validation images by their nearest training images, see ``evaluation.knn``.

    Attributes:
        k: how many vote. Default 200, as in the published figures on CIFAR-10.
        temperature: of the votes, above 0. Default 0.1, as there.
        features: 'backbone', what the trunk gives, pooled; or 'projection', what a contrastive loss compares.
    """

    k: int = 200
    temperature: float = 0.1
    features: Literal["backbone", "projection"] = "backbone"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")


@dataclass(frozen=True)
class ValCfg:
    """``val_cfg``: what validation does beside the task's own metrics.

    Attributes:
        knn: dict(k=200, temperature=0.1, features='backbone'), see :class:`KnnCfg`, adds ``top1_knn``; the training
            set, seen through the validation pipeline, goes through the network at every validation. None does not.
    """

    knn: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class OptimWrapper:
    """``optim_wrapper``: the optimizer and what surrounds its step.

    Attributes:
        optimizer: dict(type=..., lr=..., ...): any of torch's or timm's.
        paramwise_cfg: dict(norm_decay_mult=0.0, ...), see :class:`ParamwiseCfg`; None treats all parameters alike.
        clip_grad: dict(max_norm=..., norm_type=2.0), see :class:`ClipGrad`; None does not clip.
        accumulative_counts: micro-batches per step and process.
        amp: 'bf16' or 'fp16' (with loss scaling, on a GPU); None computes in float32.
    """

    optimizer: Mapping[str, Any]
    paramwise_cfg: Mapping[str, Any] | None = None
    clip_grad: Mapping[str, Any] | None = None
    accumulative_counts: int = 1
    amp: Literal["bf16", "fp16"] | None = None

    def __post_init__(self) -> None:
        if self.accumulative_counts < 1:
            raise ValueError(f"accumulative_counts must be at least 1, got {self.accumulative_counts}")


@dataclass(frozen=True)
class ParamwiseCfg:
    """``optim_wrapper.paramwise_cfg``: factors of the optimizer's ``lr`` and ``weight_decay``, in mmengine's terms.

    And a momentum in place of the optimizer's, which mmengine has not.

    The first of these that applies to a parameter counts: a custom key; being of a norm; being a bias; being flat.

    Attributes:
        norm_decay_mult: of the weight decay of norms' weights and biases; 0 decays none of them.
        bias_decay_mult: of the weight decay of the other modules' biases.
        flat_decay_mult: of the weight decay of the other parameters with one dimension, such as layer scales.
        custom_keys: ``{part of a parameter's name: dict(lr_mult=..., decay_mult=..., momentum=...)}``; the longest
            that fits counts. A schedule's own rates (``max_lr``) are multiplied as well; a floor (``eta_min``) is the
            same for all. ``momentum``, in [0, 1), is for SGD and its like; 0 is plain gradient steps, whatever
            ``nesterov`` says. A schedule that moves momentum (OneCycleLR, CyclicLR) sets that of all its groups.
        layer_decay: for fine-tuning, in (0, 1]: each of the backbone's layers has so much of the learning rate of the
            one behind it, and the last one and the head have the whole; an ``lr_mult`` counts besides. Of a ViT the
            layers are the embeddings and each block. 1, the default, treats all alike; MAE's for ViT-B is 0.65.
    """

    norm_decay_mult: float = 1.0
    bias_decay_mult: float = 1.0
    flat_decay_mult: float = 1.0
    custom_keys: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        for key, custom in self.custom_keys.items():
            if unknown := custom.keys() - {"lr_mult", "decay_mult", "momentum"}:
                what = ", ".join(sorted(unknown))
                raise ValueError(f"custom_keys[{key!r}] takes lr_mult, decay_mult and momentum, not {what}")
            if not 0 <= custom.get("momentum", 0) < 1:
                raise ValueError(f"custom_keys[{key!r}]: momentum must be in [0, 1), got {custom['momentum']}")
        own = {"norm": self.norm_decay_mult, "bias": self.bias_decay_mult, "flat": self.flat_decay_mult}
        given = [own, *self.custom_keys.values()]
        if not all(0 <= factor < math.inf for factors in given for factor in factors.values()):
            raise ValueError(f"factors must be numbers of at least 0, got {self}")


@dataclass(frozen=True)
class ClipGrad:
    """``optim_wrapper.clip_grad``: scale the gradient down where its norm is larger, as ``clip_grad_norm_`` does.

    Attributes:
        max_norm: the largest norm, above 0.
        norm_type: which norm, above 0; ``float('inf')`` is the largest absolute value.
    """

    max_norm: float
    norm_type: float = 2.0

    def __post_init__(self) -> None:
        if not (self.max_norm > 0 and self.norm_type > 0):
            raise ValueError(f"max_norm and norm_type must be above 0, got {self.max_norm} and {self.norm_type}")


@dataclass(frozen=True)
class Randomness:
    """``randomness``: the seed from which every draw of the run is derived.

    Attributes:
        seed: any whole number.
        deterministic: use torch's deterministic algorithms alone, which may be slower, so that equal runs on equal
            hardware are equal to the last bit on GPUs as well; an operation that has none ends the run.
    """

    seed: int = 0
    deterministic: bool = False


@dataclass(frozen=True)
class DistCfg:
    """``env_cfg.dist_cfg``: how processes work together.

    Attributes:
        timeout: seconds, up to 1e7, to wait for another process before it counts as lost and the run ends. Default
            1800, torch's for gloo. More than the main process may spend alone: on a download, or on a checkpoint.
    """

    timeout: float = 1800.0

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 1e7:  # beyond is more than torch can count
            raise ValueError(f"timeout must be seconds above 0 and up to 1e7, got {self.timeout}")


@dataclass(frozen=True)
class EnvCfg:
    """``env_cfg``: what surrounds the run, in mmengine's terms."""

    dist_cfg: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preprocessor:
    """``data_preprocessor``: how uint8 images become what the network sees, ``(x / 255 - mean) / std``.

    Attributes:
        mean: one value a channel, in [0, 1].
        std: one value a channel, above 0.
    """

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) > 0 or min(self.std) <= 0:
            raise ValueError(f"mean and std must have one value a channel, std above 0; got {self.mean}, {self.std}")
        if max(self.mean) > 1 or max(self.std) > 1:
            raise ValueError(f"mean and std are for images in [0, 1]; divide by 255: {self.mean}, {self.std}")


@dataclass(frozen=True)
class CheckpointHook:
    """``default_hooks.checkpoint``: when to save.

    Attributes:
        interval: epochs between checkpoints (steps where ``by_epoch`` is False); the last epoch is always saved.
        by_epoch: count epochs rather than steps.
        max_keep_ckpts: how many of the newest to keep, at least 2: one alone may be the one being written.
        save_best: the validation metric whose best value ``best.pth`` holds: top1, top5, nll, ece, the top1_NAME of
            another network that the task evaluates, or top1_knn where ``val_cfg.knn`` is there; None keeps no best.
        type: 'CheckpointHook', for configs that spell it out.
    """

    interval: int = 1
    by_epoch: bool = True
    max_keep_ckpts: int = 2
    save_best: str | None = "top1"
    type: Literal["CheckpointHook"] = "CheckpointHook"

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, got {self.interval}")
        if self.max_keep_ckpts < 2:
            raise ValueError(f"max_keep_ckpts must be at least 2, got {self.max_keep_ckpts}")
        if self.save_best is not None and not self.save_best.startswith("top1_"):
            self.check_best(["NAME"])

    def check_best(self, others: Iterable[str]) -> None:
        """Raise UserError unless ``save_best`` is a metric of a task that evaluates these networks beside its first."""
        known = [*METRICS, *(f"top1_{name}" for name in others)]
        if self.save_best is not None and self.save_best not in known:
            raise UserError(f"save_best must be None or one of {', '.join(known)}; got {self.save_best!r}")


@dataclass(frozen=True)
class LoggerHook:
    """``default_hooks.logger``: how often to log.

    Attributes:
        interval: steps between training records; each epoch's last step is logged besides.
        type: 'LoggerHook', for configs that spell it out.
    """

    interval: int = 50
    type: Literal["LoggerHook"] = "LoggerHook"

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, got {self.interval}")


@dataclass(frozen=True)
class DefaultHooks:
    """``default_hooks``: checkpoints and logging."""

    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    logger: Mapping[str, Any] = field(default_factory=dict)


SECTIONS: dict[str, type[Any]] = {
    "data_preprocessor": Preprocessor,
    "train_cfg": TrainCfg,
    "val_cfg": ValCfg,
    "optim_wrapper": OptimWrapper,
    "default_hooks": DefaultHooks,
    "randomness": Randomness,
    "env_cfg": EnvCfg,
}
# dicts inside of these, by dotted key
NESTED: dict[str, type[Any]] = {
    "default_hooks.checkpoint": CheckpointHook,
    "default_hooks.logger": LoggerHook,
    "env_cfg.dist_cfg": DistCfg,
    "optim_wrapper.clip_grad": ClipGrad,
    "optim_wrapper.paramwise_cfg": ParamwiseCfg,
    "val_cfg.knn": KnnCfg,
}
