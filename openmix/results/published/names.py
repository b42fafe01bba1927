"""The vocabularies of the published figures: the short names in the CSV files, and what each stands for."""

import re
from collections.abc import Mapping

from openmix.errors import UserError, did_you_mean

__all__ = ["DATASETS", "METHODS", "METRICS", "NETWORKS", "RECIPES", "STATISTICS", "known_name"]

DATASETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny-imagenet": "Tiny-ImageNet",
    "imagenet": "ImageNet-1k",
    "imagenette": "Imagenette",
    "cub200": "CUB-200-2011",
    "aircraft": "FGVC-Aircraft",
    "cars": "Stanford Cars",
    "inat2017": "iNaturalist 2017",
    "inat2018": "iNaturalist 2018",
    "places205": "Places205",
}

NETWORKS = {
    "r18": "ResNet-18",
    "r34": "ResNet-34",
    "r50": "ResNet-50",
    "r101": "ResNet-101",
    "r200": "ResNet-200",
    "rx50": "ResNeXt-50 (32x4d)",
    "rx101": "ResNeXt-101",
    "preactresnet18": "PreActResNet-18",
    "wrn16-8": "WideResNet-16-8",
    "wrn28-8": "WideResNet-28-8",
    "wrn28-10": "WideResNet-28-10",
    "resnext29-4-24": "ResNeXt-29 4x24d",
    "ss26-2x96d": "Shake-Shake-26 2x96d",
    "pyramidnet200": "PyramidNet-200",
    "repvgg": "RepVGG (which one is not stated)",
    "efficientnet-b0": "EfficientNet-B0",
    "mobilenetv2": "MobileNetV2",
    "convnext": "ConvNeXt (which one is not stated)",
    "convnext-t": "ConvNeXt-T",
    "moganet-t": "MogaNet-T",
    "deit-t": "DeiT-T",
    "deit-s": "DeiT-S",
    "deit-b": "DeiT-B",
    "vit-t-2": "ViT-T, patches of 2",
    "vit-s": "ViT-S",
    "vit-b": "ViT-B",
    "pvt-t": "PVT-T",
    "pvt-s": "PVT-S",
    "swin-t": "Swin-T",
}

METHODS = {
    "vanilla": "Vanilla",
    "mixup": "MixUp",
    "cutmix": "CutMix",
    "cutmix+": "CutMix+",
    "mixup+cutmix": "MixUp + CutMix",
    "manifoldmix": "ManifoldMix",
    "smoothmix": "SmoothMix",
    "saliencymix": "SaliencyMix",
    "attentivemix": "AttentiveMix+",
    "fmix": "FMix",
    "gridmix": "GridMix",
    "puzzlemix": "PuzzleMix",
    "comixup": "Co-Mixup",
    "supermix": "SuperMix",
    "saliencygrafting": "Saliency Grafting",
    "rmix": "R-Mix",
    "rlmix": "RL-Mix",
    "resizemix": "ResizeMix",
    "resizemixplus": "ResizeMix+",
    "alignmix": "AlignMix",
    "automix": "AutoMix",
    "samix": "SAMix",
    "adautomix": "AdAutoMix",
    "transmix": "TransMix",
    "tokenmix": "TokenMix",
    "smmix": "SMMix",
    "cropmix": "CropMix",
    "scalemix": "ScaleMix",
    "multicrop": "MultiCrop",
    "asymaug": "AsymAug",
    "asymbn": "AsymBN",
    "meanenc": "MeanEnc",
    "cutout": "Cutout",
    "autoaugment": "AutoAugment",
    "fast-autoaugment": "Fast AutoAugment",
    "faster-autoaugment": "Faster AutoAugment",
    "pba": "PBA",
    "ohl-autoaugment": "OHL-Auto-Aug",
    "randaugment": "RandAugment",
    "dada": "DADA",
    "moco": "MoCo",
    "mocov3": "MoCo v3",
    "simsiam": "SimSiam",
    "simclr": "SimCLR",
    "byol": "BYOL",
    "mae": "MAE",
}

METRICS = {
    "top1": "top-1 (%)",
    "top1_error": "top-1 error (%)",
    "top5_error": "top-5 error (%)",
    "linear_top1": "linear probe, top-1 (%)",
    "online_top1": "linear probe trained beside, top-1 (%)",
    "top1_knn": "kNN, top-1 (%)",
    "finetuned_top1": "fine-tuned, top-1 (%)",
    "top1_10pct_labels": "top-1 with 10 % of the labels (%)",
    "top1_1pct_labels": "top-1 with 1 % of the labels (%)",
    "top1_fgsm": "top-1 under FGSM (%)",
    "top1_fgsm8": "top-1 under FGSM, 8/255 (%)",
    "top1_fgsm4": "top-1 under FGSM, 4/255 (%)",
    "top1_pgd8": "top-1 under PGD-7, 8/255 (%)",
    "top1_pgd4": "top-1 under PGD-7, 4/255 (%)",
    "top1_cifar100c": "top-1 on CIFAR-100-C (%)",
    "top1_background_replaced": "top-1, background replaced (%)",
    "top1_background_noise": "top-1, background of noise (%)",
    "top1_imagenet_a": "top-1 on ImageNet-A (%)",
    "top1_imagenet_r": "top-1 on ImageNet-R (%)",
    "top1_imagenet_sketch": "top-1 on ImageNet-Sketch (%)",
    "ece_percent": "expected calibration error (%)",
    "rms_calibration_percent": "RMS calibration error (%)",
    "localisation": "localisation accuracy (%)",
    "voc_ap50": "VOC, AP50",
    "voc_ap": "VOC, AP",
    "voc_ap75": "VOC, AP75",
    "coco_box_ap50": "COCO boxes, AP50",
    "coco_box_ap": "COCO boxes, AP",
    "coco_box_ap75": "COCO boxes, AP75",
    "coco_mask_ap50": "COCO masks, AP50",
    "coco_mask_ap": "COCO masks, AP",
    "coco_mask_ap75": "COCO masks, AP75",
    "memory_gb": "memory (GB)",
    "train_hours": "training time (h)",
}

STATISTICS = {
    "median_last10": "median of the last 10 epochs",
    "median_last5": "median of the last 5 epochs",
    "best_last10": "best of the last 10 epochs",
    "best_mean3": "best epoch, mean of 3 runs",
    "best": "best epoch",
    "last": "last epoch",
    "unknown": "statistic not stated",
    "": "",  # of what has none: memory, hours
}

RECIPES = {
    "openmixup-cifar": "batch 100, SGD 0.1, weight decay 1e-4, cosine per epoch, crop with padding 4 and flip",
    "openmixup-wrn": "openmixup-cifar with SGD 0.03, weight decay 1e-3",
    "openmixup-vit": "224 px, batch 100, AdamW 1e-3 (Swin 5e-4), weight decay 0.05, RandAugment, label smoothing 0.1",
    "openmixup-convnext": "32 px, batch 100, AdamW 1e-3, weight decay 0.05, RandAugment, label smoothing 0.1",
    "openmixup-tiny": "64 px, batch 100, SGD 0.2, weight decay 1e-4, cosine per epoch, random resized crop and flip",
    "pytorch": "batch 256, SGD 0.1, weight decay 1e-4, cosine, random resized crop and flip",
    "rsb-a3": "160 px, batch 2048, LAMB 0.008, RandAugment, binary cross entropy (summed over the classes by "
    "OpenMixup, where RSB averages)",
    "rsb-a2": "224 px, LAMB 0.005, RandAugment, repeated augmentation, binary cross entropy (summed over the classes "
    "by OpenMixup, where RSB averages)",
    "deit": "batch 1024, AdamW 1e-3, RandAugment, random erasing, label smoothing 0.1 (ConvNeXt: batch 4096, 4e-3)",
    "finetune": "from weights pre-trained on ImageNet: batch 16, SGD 1e-3, weight decay 5e-4",
    "rmix-onecycle": "batch 100, SGD with Nesterov, OneCycleLR to 0.2995 with momentum 0.95 to 0.85 and back",
    "fast-imagenet": "three phases of 15, 25 and 60 epochs at 128, 224 and 224 px, SGD, rate linear between knots",
    "puzzlemix-cifar": "batch 100, SGD 0.1 or 0.2 with Nesterov, x0.1 twice, binary cross entropy of softmax",
    "cutmix-imagenet": "CutMix's: batch 256, SGD 0.1, x0.1 every 75 epochs, colour jitter and lighting",
    "cutmix-pyramidnet": "CutMix's: batch 64, SGD 0.25, x0.1 after half and three quarters",
    "comixup-cifar": "batch 100, SGD 0.2 with Nesterov, x0.1 after a third and two thirds, binary cross entropy of "
    "softmax, and a clean term",
    "cropmix-r1": "batch 256, SGD 0.1, x0.1 every 75 epochs",
    "cropmix-r2": "the paper's recipe 2, which its repository does not hold",
    "cropmix-r3": "the paper's recipe 3, which its repository does not hold",
    "moco-v2": "contrastive pre-training with asym-siam's MoCo: batch 256, SGD 0.03, cosine",
    "mae": "masked pre-training on all of ImageNet, then fine-tuning; epochs are the pre-training's",
    "mae-10pct": "masked pre-training on 10 % of ImageNet, then fine-tuning",
    "moco-cifar": "MoCo: batch 512, SGD 0.06, weight decay 5e-4, cosine per epoch, momentum 0.99, T 0.1, queue 4096, "
    "linear projector to 128, BatchNorm split in 8; kNN with k 200, T 0.1",
    "lightly-cifar-128": "batch 128, kNN of the network's 512 values; MoCo: as moco-cifar, projector 512-512-128",
    "lightly-cifar-512": "as lightly-cifar-128, batch 512",
    "solo-learn-cifar": "batch 256, warm-up of 10 epochs and cosine; MoCo v2+: SGD 0.3, projector 2048-256, queue "
    "32768 a view, T 0.2, momentum 0.99 to 0.999; SimSiam: SGD 0.5, projector 2048, predictor 512",
    "simsiam-cifar": "batch 512, SGD 0.03 x batch / 256, weight decay 5e-4, 10 epochs of warm-up, projector of 2 "
    "layers; kNN with k 200",
    "mae-cifar": "masked pre-training: decoder of 4 blocks of 192, 75 % masked, no augmentation, AdamW 1.5e-4 x 16, "
    "weight decay 0.05, 200 epochs of warm-up; then fine-tuning; epochs are the pre-training's",
    "": "",  # not stated
}


def known_name(what: str, name: str, vocabulary: Mapping[str, str]) -> str:
    """Return the short name that ``name`` spells; capitals, hyphens and what a title has in brackets do not matter.

    Args:
        what: what the vocabulary names, for the message.
        name: a short name or a title.
        vocabulary: titles by short name.

    Raises:
        UserError: no such name; the message suggests the nearest.

    >>> known_name("network", "ResNeXt50", NETWORKS)
    'rx50'
    """
    known = {_plain(spelt): short for short, title in vocabulary.items() for spelt in (title, short)}
    if _plain(name) not in known:
        raise UserError(f"no published figures for {what} {name!r}{did_you_mean(name, vocabulary)}")
    return known[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"\(.*?\)|[^a-z0-9+]", "", name.lower())
