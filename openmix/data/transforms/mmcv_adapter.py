"""mmcv's transforms in a pipeline: ``dict(type="mmcv.RandomFlip", prob=0.5)``.

mmcv hands a dictionary from transform to transform, whose ``img`` is a numpy array (H, W, C) with the channels in
OpenCV's order, blue first; openmix hands a tensor (C, H, W), red first. mmcv is imported when a config names one.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from openmix.errors import UserError, did_you_mean

__all__ = ["MmcvTransform", "mmcv_transform"]

NOT_TAKEN = {
    "ImageToTensor": "a pipeline's images are tensors already",
    "LoadAnnotations": "a data set gives the labels",
    "LoadImageFromFile": "a data set reads and decodes its images",
    "MultiScaleFlipAug": "a pipeline gives one image",
    "Normalize": "data_preprocessor normalises, on the device",
    "TestTimeAug": "a pipeline gives one image",
    "ToTensor": "a pipeline's images are tensors already",
}


class MmcvTransform:
    """One of mmcv's transforms, or one that is registered with mmcv, for a uint8 image (3, H, W) in RGB.

    It finds ``img``, ``img_shape`` and ``ori_shape`` in its dictionary, and of what it leaves there ``img`` alone is
    taken. mmcv draws from numpy's and Python's global generators, which TorchLoader seeds for each image. Transforms
    inside it (of ``RandomApply``, say) must be mmcv's, too: others do not know its dictionaries.

    Args:
        transform: its config, with ``type`` as mmcv registers it; or a callable from dictionary to dictionary.
        channel_order: of ``img``, ``'bgr'`` as mmcv loads images, or ``'rgb'``. It matters to what weighs or shifts
            colours, such as ``RandomGrayscale``, not to what moves pixels.

    Raises:
        UserError: mmcv is not installed, knows no such transform, or has one that makes no sense here.

    >>> flip = MmcvTransform(lambda results: {**results, "img": results["img"][:, ::-1]})
    >>> flip(torch.arange(6, dtype=torch.uint8).view(3, 1, 2)).flatten().tolist()
    [1, 0, 3, 2, 5, 4]
    """

    def __init__(
        self,
        transform: Mapping[str, Any] | Callable[[dict[str, Any]], Any],
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> None:
        if channel_order not in ("bgr", "rgb"):
            raise UserError(f"channel_order must be 'bgr' or 'rgb', not {channel_order!r}")
        self.reverse = channel_order == "bgr"
        self.name = str(transform.get("type")) if isinstance(transform, Mapping) else repr(transform)
        if isinstance(transform, Mapping):
            _find(self.name)
            _check_inner(transform.get("transforms", ()), self.name)
            transform = _registry().build(dict(transform))
        assert callable(transform)
        self.transform = transform

    def __call__(self, image: Any) -> Any:
        """Return the image as the transform makes it; inside another of mmcv's, take and return its dictionary.

        Raises:
            UserError: it gives no image, or one that is not uint8.
        """
        if isinstance(image, dict):
            return self.transform(image)
        shape = tuple(image.shape[1:])
        results = self.transform({"img": self._to_array(image), "img_shape": shape, "ori_shape": shape})
        if not isinstance(results, dict) or not isinstance(results.get("img"), np.ndarray):
            raise UserError(f"mmcv's {self.name} gives no image: expected a dictionary with an array 'img'")
        array = results["img"]
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise UserError(
                f"mmcv's {self.name} gives {array.dtype} {array.shape}; expected uint8 (H, W, C), which "
                "data_preprocessor normalises"
            )
        return self._to_tensor(array)

    def _to_array(self, image: Tensor) -> np.ndarray:
        array = image.as_subclass(Tensor).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(array[..., ::-1] if self.reverse else array)

    def _to_tensor(self, array: np.ndarray) -> Tensor:
        array = array[..., None] if array.ndim == 2 else array
        return torch.from_numpy(np.ascontiguousarray(array[..., ::-1] if self.reverse else array)).permute(2, 0, 1)

    def __repr__(self) -> str:
        return f"MmcvTransform({self.transform!r})"


@functools.cache
def mmcv_transform(name: str) -> Callable[..., MmcvTransform]:
    """Return what makes mmcv's transform of this name; it has the transform's signature, which a config is held to.

    Raises:
        UserError: as for :class:`MmcvTransform`.
    """
    inner = _find(name)

    def make(**options: Any) -> MmcvTransform:
        return MmcvTransform({"type": name, **options})

    make.__name__ = f"mmcv.{name}"
    make.__signature__ = inspect.signature(inner)  # pyright: ignore[reportFunctionMemberAccess]
    return make


def _find(name: str) -> Callable[..., Any]:
    """Return the transform that mmcv registers under a name.

    Raises:
        UserError: there is none that is of use here.
    """
    if name in NOT_TAKEN:
        raise UserError(f"mmcv.{name} has no place in a pipeline of openmix: {NOT_TAKEN[name]}; leave it out")
    registry = _registry()
    found = registry.module_dict.get(name)  # get() would import, and so run, what a dotted name may lead to
    if found is None:
        known = [f"mmcv.{known}" for known in registry.module_dict if known not in NOT_TAKEN]
        raise UserError(f"mmcv registers no transform {name!r}{did_you_mean(f'mmcv.{name}', known)}")
    return found


def _registry() -> Any:
    """Return mmcv's registry of transforms.

    Raises:
        UserError: mmcv cannot be imported.
    """
    try:
        from mmcv.transforms import TRANSFORMS
    except ImportError as error:  # it, or OpenCV, or a library that OpenCV wants
        raise UserError(f"mmcv's transforms need mmcv and OpenCV: pip install 'openmix[mmcv]' ({error})") from None
    return TRANSFORMS


def _check_inner(transforms: Any, outer: str) -> None:
    """Raise UserError if one inside mmcv's is not mmcv's: torchvision's would leave its dictionary as it is."""
    for inner in (
        transforms if isinstance(transforms, Iterable) and not isinstance(transforms, Mapping) else (transforms,)
    ):
        if isinstance(inner, list | tuple):
            _check_inner(inner, outer)
        elif not isinstance(inner, MmcvTransform | Mapping):
            raise UserError(
                f"inside mmcv.{outer} only mmcv's transforms work, such as dict(type='mmcv.RandomFlip'), "
                f"not {type(inner).__name__}"
            )
