"""A script as one writes it without openmix: ResNet-18 on CIFAR-10 with MixUp, to the end of its first training step.

``python bare_start.py DATA DEVICE``: it imports nothing of openmix, and is run by its path. ``openmix bench startup``
lets it take turns with ``openmix train``. torchvision's own check of the files, MD5 sums of 180 MB, is left out.
"""

import os
import sys

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class CIFAR10(torchvision.datasets.CIFAR10):
    """The data set, of files that are taken as they are."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        """Nothing here needs the classes' names."""


def resnet18() -> nn.Module:
    """Return torchvision's network with the stem that is customary for images of 32 pixels."""
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def main(root: str, device: str) -> None:
    """Train one step."""
    to_float = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    crops = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *to_float])
    train_set = CIFAR10(root, train=True, transform=crops)
    val_set = CIFAR10(root, train=False, transform=v2.Compose(to_float))
    train_loader = DataLoader(train_set, 100, shuffle=True, drop_last=True)
    DataLoader(val_set, 500)
    net = resnet18().to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for images, labels in train_loader:
        images, labels = images.to(device), labels.to(device)
        lam, order = torch.distributions.Beta(1.0, 1.0).sample().item(), torch.randperm(len(labels), device=device)
        logits = net(images.lerp(images[order], 1 - lam))
        loss = lam * F.cross_entropy(logits, labels) + (1 - lam) * F.cross_entropy(logits, labels[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"the first step is done, loss {loss.item():.3f}", flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
