"""How OpenMixup's heads and losses become openmix's."""

from collections.abc import Mapping
from typing import Any, Literal

from openmix.convert.report import Section

__all__ = ["convert_head"]

HEADS = ("ClsHead", "ClsMixupHead")
TWO_HOT = {"none": "one", "pow": "pow", "exp": "exp"}  # lam_scale_mode -> two_hot

SAYS_NOTHING = {
    "hidden_dim": (None, "there is no hidden layer"),
    "finetune": (False, "load_from takes a head of other classes as it is"),
    "aug_test": (False, "there is no test-time augmentation"),
    "frozen": (False, "the head is trained"),
}
OF_SHARES = ("two_hot", "two_hot_scale", "lam_scale_mode", "lam_thr", "lam_idx", "eta_weight")


def convert_head(old: Section, mixes: bool) -> dict[str, Any]:
    """Return the new ``head``.

    Args:
        old: the old one.
        mixes: whether the task mixes images.
    """
    kind = old.get("type", "ClsHead")
    new: dict[str, Any] = {"type": kind, "num_classes": old.kept("num_classes", default=1000)}
    if kind == "VisionTransformerClsHead":
        new["type"] = "ClsMixupHead" if mixes else "ClsHead"
        old.changed("type", f"{new['type']}: one linear layer on what the network pools, from weights of std 0.01")
        old.meaningless("init_cfg", "the head's init says how it begins")
    elif kind in HEADS:
        old.kept("type")
    else:
        old.refused("type", f"openmix has no head {kind}; it has {', '.join(HEADS)}")
    old.meaningless("in_channels", "the backbone says it")
    old.benign({"with_avg_pool": ((True, None), "pooling is the neck's, and global averaging the default")})
    old.benign(SAYS_NOTHING)
    new |= _convert_loss(old, old.section("loss"))
    old.meaningless("multi_label", "the loss says it; there is one for pairs of labels and for soft ones")
    for key in OF_SHARES:
        old.meaningless(key, "this loss does not look at it")
    old.benign({"neg_weight": (1, "all classes weigh the same")})
    old.close()
    return new


def _convert_loss(head: Section, loss: Section) -> dict[str, Any]:
    """Return the head's arguments that say its loss; none are plain cross entropy."""
    loss.benign({"loss_weight": (1, "there is one loss")})
    kind = loss.get("type", "CrossEntropyLoss")
    if kind == "LabelSmoothLoss":
        return _label_smoothing(loss)
    if kind != "CrossEntropyLoss":
        loss.refused("type", f"openmix has no {kind}")
        return {}
    eta = (head.read("eta_weight", Mapping[str, Any] | None) or {}).get("eta", 0)
    if loss.get("use_sigmoid"):
        new = _binary(head, loss)
    elif loss.get("use_mix_decouple") and eta:
        new = _decoupled(head, loss, eta)
    else:
        new = {}
        loss.changed("type", "MixCrossEntropy, the default: weights of the labels are an image's own, never averaged")
    for key in ("use_soft", "use_sigmoid", "use_mix_decouple"):
        loss.meaningless(key, "the loss's type says it")
    loss.close()
    return {"loss": new} if new else {}


def _label_smoothing(loss: Section) -> dict[str, Any]:
    loss.changed("type", "MixCrossEntropy, the default, with label_smoothing")
    loss.meaningless("num_classes", "the head says it")
    value, mode = loss.read("label_smooth_val", float, 0.1), loss.get("mode", "original")
    if mode == "classy_vision":
        value = value / (1 + value)
        loss.changed("mode", f"the same as label_smoothing={value:.6g} in the paper's form")
    elif mode == "original":
        loss.meaningless("mode", "the paper's form is the only one")
    else:
        loss.no_equivalent("mode", "the paper's label smoothing is taken instead")
    loss.renamed("label_smooth_val", "model.head.label_smoothing")
    loss.close()
    return {"label_smoothing": value}


def _binary(head: Section, loss: Section) -> dict[str, Any]:
    loss.changed(
        "type", "MixBinaryCrossEntropy, summed over the classes as OpenMixup has it (timm: class_reduction='mean')"
    )
    new = {"type": "MixBinaryCrossEntropy", "class_reduction": "sum"}
    if not head.get("two_hot"):
        return new
    head.renamed("two_hot", "model.head.loss.two_hot")
    new["two_hot"] = TWO_HOT[head.read("lam_scale_mode", Literal["none", "pow", "exp"], "none")]
    head.renamed("lam_scale_mode", "model.head.loss.two_hot")
    for key, name in (("lam_thr", "threshold"), ("lam_idx", "exponent"), ("two_hot_scale", "scale")):
        value = head.renamed(key, f"model.head.loss.{name}", default=1)
        if value != 1:
            new[name] = value
    return new


def _decoupled(head: Section, loss: Section, eta: float) -> dict[str, Any]:
    loss.changed("type", "DecoupledCrossEntropy: each image by its own two labels, where OpenMixup may swap them")
    weight = head.section("eta_weight")
    weight.renamed("eta", "model.head.loss.eta")
    new: dict[str, Any] = {"type": "DecoupledCrossEntropy", "eta": eta}
    mode = weight.renamed("mode", "model.head.loss.mode", default="both")
    if mode != "both":
        new["mode"] = mode
    weight.benign({"thr": (0.5, "'less' and 'more' are told apart at one half")})
    weight.close()
    scale = head.get("lam_scale_mode", "none")
    if scale == "exp":
        head.no_equivalent("lam_scale_mode", "eta is scaled by a power of the share (exponent), or not at all (0)")
    threshold = head.renamed("lam_thr", "model.head.loss.threshold", default=1)
    exponent = head.renamed("lam_idx", "model.head.loss.exponent", default=1)
    head.renamed("lam_scale_mode", "model.head.loss.exponent")
    if scale == "none":
        exponent = 0
    new |= {name: v for name, v in (("threshold", threshold), ("exponent", exponent)) if v != 1}
    return new
