"""AutoAugment with its policy by name, as configs can write it."""

from typing import Literal

from torchvision.transforms import v2

__all__ = ["AutoAugment"]


class AutoAugment(v2.AutoAugment):
    """torchvision's ``v2.AutoAugment`` (Cubuk et al., CVPR 2019, arXiv:1805.09501).

    Args:
        policy: the data set that the policy was found on: 'imagenet' (torchvision's default), 'cifar10' or 'svhn'.

    >>> import torch
    >>> AutoAugment("cifar10")(torch.zeros(3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([3, 8, 8])
    """

    def __init__(self, policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet") -> None:
        super().__init__(v2.AutoAugmentPolicy(policy))
