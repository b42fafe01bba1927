"""Where the published figures are from, and what to keep in mind about all figures of a source."""

from dataclasses import dataclass

__all__ = ["SOURCES", "Source"]


@dataclass(frozen=True)
class Source:
    """Where figures were published.

    Attributes:
        title: what the place is.
        link: its address.
        note: what to keep in mind about all of its figures.
    """

    title: str
    link: str
    note: str


SOURCES = {
    "resizemix": Source(
        "ResizeMix's README",
        "https://github.com/JayQine/ResizeMix, arXiv 2012.11101",
        "Neither epochs, seeds nor the statistic are printed; many rows are quoted from other papers with other "
        "recipes, so this is no controlled comparison. Extra cost is the authors' own mark.",
    ),
    "rmix": Source(
        "R-Mix's README",
        "https://github.com/minhlong94/Random-Mixup, arXiv 2212.04875",
        "One run each, no seeds; the released commands do not run to their end as printed.",
    ),
    "rmix-listing": Source(
        "public listings of the R-Mix paper's results",
        "https://paperswithcode.com/paper/expeditious-saliency-guided-mix-up-through, arXiv 2212.04875",
        "Seen as listings; the paper's tables were not at hand.",
    ),
    "puzzlemix": Source(
        "Puzzle Mix's READMEs and log",
        "https://github.com/snu-mllab/PuzzleMix, arXiv 2009.06962",
        "",
    ),
    "comixup": Source(
        "Co-Mixup's training log",
        "https://github.com/snu-mllab/Co-Mixup, arXiv 2102.03065",
        "",
    ),
    "comixup-paper": Source(
        "Co-Mixup's paper",
        "arXiv 2102.03065",
        "Recalled from the paper's tables and not checked against them since: compare before you rely on one.",
    ),
    "cropmix": Source(
        "CropMix's README",
        "https://github.com/JunlinHan/CropMix, arXiv 2205.15955",
        "Read off images of tables. All are older than a correction of the crop scales, belong to no stated commit, "
        "and have neither seeds nor a spread.",
    ),
    "asym-siam": Source(
        "asym-siam's README",
        "https://github.com/facebookresearch/asym-siam, arXiv 2204.00613",
        "",
    ),
    "mmpretrain": Source(
        "MMPretrain's MAE models",
        "https://github.com/open-mmlab/mmpretrain, arXiv 2111.06377",
        "",
    ),
    "moco-cifar": Source(
        "MoCo's CIFAR-10 demo",
        "https://github.com/facebookresearch/moco, branch colab-notebook, arXiv 2003.04297",
        "One run each, no seeds.",
    ),
    "lightly": Source(
        "lightly's benchmarks",
        "https://docs.lightly.ai/self-supervised-learning/getting_started/benchmarks.html",
        "The best epoch by kNN on the test set; no seeds.",
    ),
    "solo-learn": Source(
        "solo-learn's results",
        "https://github.com/vturrisi/solo-learn, arXiv 2108.01775",
        "Of a linear classifier trained beside the network, not afterwards (issues 216 and 221 there); no seeds.",
    ),
    "patrickhua-simsiam": Source(
        "PatrickHua's SimSiam",
        "https://github.com/PatrickHua/SimSiam, arXiv 2011.10566",
        "An independent implementation, one run.",
    ),
    "icaruswizard-mae": Source(
        "IcarusWizard's MAE",
        "https://github.com/IcarusWizard/MAE, arXiv 2111.06377",
        "An independent implementation, one run.",
    ),
    "openmixup": Source(
        "OpenMixup's benchmarks",
        "https://github.com/Westlake-AI/openmixup, arXiv 2209.04851",
        "No seeds, numbers of runs or spreads are given, and few logs. The script behind 'the last N epochs' takes "
        "N + 1.",
    ),
    "openmixup-adautomix": Source(
        "AdAutoMix's README in OpenMixup",
        "https://github.com/Westlake-AI/openmixup/tree/main/configs/classification/imagenet/adautomix, "
        "arXiv 2312.11954",
        "No seeds or spreads are given.",
    ),
}
