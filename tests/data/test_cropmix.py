"""CropMix's pixels against its steps taken one after the other with Pillow and numpy, and its places of use."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision import datasets, transforms, tv_tensors
from torchvision.transforms import v2

from openmix.data import ArraySource, TorchLoader
from openmix.data.transforms import TRANSFORMS, cropmix_single
from openmix.data.transforms.cropmix_plan import PERMUTATIONS
from openmix.data.transforms.cropmix_settings import CropMixSettings
from openmix.data.transforms.cropmix_single import Plan, View, apply_plan, draw_plan
from openmix.errors import UserError
from openmix.registry import TRANSFORMS as REGISTRY
from openmix.registry import build
from openmix.transforms import CropMix

PICTURE = Image.fromarray(load_sample_image("flower.jpg")).resize((500, 333))
PIXELS = torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1)


@pytest.fixture(autouse=True)
def own_generator():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pillow_crop(picture, box, size):
    """A view as the authors make it: float (size, size, 3) of whole grey levels."""
    y0, y1, x0, x1 = box
    crop = picture.crop((x0, y0, x1, y1)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(crop).astype(np.float64)


def step_by_step(picture, boxes, size, operation, draws):
    """Fold the views from the left; draws has for each step lam or the paste, and the permutation."""
    views = [pillow_crop(picture, box, size) for box in boxes]
    mixture = views[0]
    for view, (lam_or_paste, order) in zip(views[1:], draws, strict=True):
        if operation == 0:
            if lam_or_paste > 0.5:
                view = view[..., order]
            else:
                mixture = mixture[..., order]
            mixture = lam_or_paste * mixture + (1 - lam_or_paste) * view
            continue
        into, (y0, y1, x0, x1) = lam_or_paste
        if into:
            mixture = mixture.copy()
            mixture[y0:y1, x0:x1] = view[y0:y1, x0:x1][..., order]
        else:
            view = view.copy()
            view[y0:y1, x0:x1] = mixture[y0:y1, x0:x1][..., order]
            mixture = view
    return mixture


def recorded(monkeypatch, size, **settings):
    """Draw a plan, and return it with the raw draws of each step and the boxes of all views, shown or not."""
    seen = {}

    def spy(name, pick):
        original = getattr(cropmix_single, name)

        def call(*arguments):
            result = original(*arguments)
            seen.setdefault(name, []).append(pick(arguments, result))
            return result

        monkeypatch.setattr(cropmix_single, name, call)

    spy("_fold_shares", lambda arguments, _: list(arguments[0]))
    spy("_pasting", lambda _, result: list(result))
    spy("_fold_permutations", lambda arguments, _: list(arguments[0]))
    # every view is drawn its box, so that the oracle has those that do not show as well
    monkeypatch.setattr(cropmix_single, "_visible", lambda weights: [w + 1e-30 for w in weights])
    exact = cropmix_single._pixel_shares
    monkeypatch.setattr(cropmix_single, "_pixel_shares", lambda *a: [w or 1e-30 for w in exact(*a)])
    plan = draw_plan(333, 500, CropMixSettings(size=size, inter_aug=True, **settings))
    monkeypatch.undo()
    orders = seen["_fold_permutations"][0][: len(plan.views) - 1]
    steps = (seen.get("_fold_shares") or seen.get("_pasting"))[0]
    return plan, list(zip(steps, orders, strict=True))


def only_shown(plan):
    """The plan as it is drawn: least views left out, in mixup mode with the others' weights summing to 1."""
    weights = [view.weight for view in plan.views]
    shown = cropmix_single._visible(weights) if plan.steps is None else [w if w > 1e-20 else 0.0 for w in weights]
    views = [v._replace(weight=w) if w > 0 else None for v, w in zip(plan.views, shown, strict=True)]
    return plan._replace(views=views)


@pytest.mark.parametrize("operation", [0, 1])
@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("size", [32, 224])
def test_pixels_are_those_of_the_steps_taken_with_pillow(operation, number, size, monkeypatch):
    mean = []
    for _ in range(25):
        plan, draws = recorded(monkeypatch, size, number=number, operation=operation)
        expected = step_by_step(PICTURE, [view.box for view in plan.views], size, operation, draws)
        plan = only_shown(plan)
        transform = CropMix(size=size)
        bytes_ = transform.transform(PIXELS, {"plan": plan}).permute(1, 2, 0)
        floats = transform.transform(PICTURE, {"plan": plan}).permute(1, 2, 0).numpy() * 255
        # torchvision's resize is Pillow's but for a grey level; then what is left out, less than one more
        hidden = [w for w, v in zip(_exact_weights(draws, operation), plan.views, strict=True) if v is None]
        slack = 1.0 + 255 * sum(hidden) + 1e-3
        assert np.abs(floats - expected).max() <= slack
        assert np.abs(bytes_.numpy() - expected).max() <= slack + 0.5
        mean.append(np.abs(floats - expected).mean())
    assert np.mean(mean) < 0.25


def _exact_weights(draws, operation):
    return cropmix_single._fold_shares([lam for lam, _ in draws]) if operation == 0 else [0.0] * (len(draws) + 1)


@pytest.mark.parametrize("operation", [0, 1])
def test_pixels_are_within_one_grey_level_where_all_views_show(operation, monkeypatch):
    """Nothing left out: whole numbers differ by one at most, floats by 1/255."""
    for _ in range(40):
        plan, draws = recorded(monkeypatch, 64, number=3, operation=operation, mix_ratio=60.0)
        expected = step_by_step(PICTURE, [view.box for view in plan.views], 64, operation, draws)
        plan = only_shown(plan)
        assert operation == 1 or None not in plan.views
        result = CropMix(size=64).transform(PIXELS, {"plan": plan}).permute(1, 2, 0).numpy()
        assert np.abs(result - np.floor(expected + 0.5)).max() <= 1
        floats = CropMix(size=64).transform(PICTURE, {"plan": plan}).permute(1, 2, 0).numpy()
        assert np.abs(floats - expected / 255).max() <= 1.001 / 255


def test_views_that_do_not_show_are_not_cropped(monkeypatch):
    cropped = []
    monkeypatch.setattr(
        cropmix_single, "_crop", lambda image, box, size: cropped.append(box) or np.zeros((3, size, size), np.uint8)
    )
    for operation in (0, 1):
        transform = CropMix(operation=operation, size=16)
        drawn = shown = 0
        for _ in range(300):
            plan = transform.make_params([PIXELS])["plan"]
            transform.transform(PIXELS, {"plan": plan})
            drawn += len(plan.views)
            shown += sum(view is not None for view in plan.views)
        assert len(cropped) == shown < drawn
        cropped.clear()


def test_a_crop_is_not_written_through_to_the_image():
    image = torch.arange(3 * 8 * 8).reshape(3, 8, 8).byte()
    whole, part = View((0, 8, 0, 8), 0.5, (0, 1, 2)), View((0, 4, 0, 4), 0.5, (2, 0, 1))
    before = image.clone()
    for steps in ([(True, (0, 4, 0, 4))], [(False, (0, 4, 0, 4))], None):
        apply_plan(image, Plan(8, [whole, part], steps))
        apply_plan(image, Plan(8, [whole, None], steps)).zero_()
    assert torch.equal(image, before)


def test_the_demo_of_the_authors_readme(tmp_path):
    for i, colour in enumerate(["red", "green", "blue"]):
        (tmp_path / colour).mkdir()
        PICTURE.resize((90 + i, 70)).save(tmp_path / colour / "picture.jpg")
    post_aug = transforms.Compose([transforms.RandomHorizontalFlip()])
    dataset = datasets.ImageFolder(str(tmp_path), CropMix(0.01, 0.4, 234, 0, True, post_aug))
    images, labels = next(iter(torch.utils.data.DataLoader(dataset, batch_size=3)))
    assert images.shape == (3, 3, 224, 224) and images.dtype == torch.float32
    assert 0 <= images.min() < 0.4 < images.max() <= 1 and labels.tolist() == [0, 1, 2]


def test_in_torchvisions_compose():
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for compose in (transforms.Compose, v2.Compose):
        out = compose([CropMix(0.2, number=2, operation=1, size=48), transforms.RandomHorizontalFlip(), normalize])(
            PICTURE
        )
        assert out.shape == (3, 48, 48) and out.dtype == torch.float32 and out.min() < -0.5


def test_labels_beside_the_image_pass():
    label = torch.tensor(3)
    image, passed = v2.Compose([CropMix(size=16)])((PICTURE, label))
    assert image.shape == (3, 16, 16) and passed is label
    image, passed = CropMix(size=16)((PIXELS, 7))
    assert image.dtype == torch.uint8 and passed == 7


def test_post_aug_is_applied_in_turn_to_the_mixture():
    seen = []

    def note(image):
        seen.append((image.dtype, tuple(image.shape)))
        return image

    CropMix(size=20, post_aug=[note, v2.CenterCrop(10), note])(PIXELS)
    CropMix(size=20, post_aug=note)(PICTURE)
    assert seen == [(torch.uint8, (3, 20, 20)), (torch.uint8, (3, 10, 10)), (torch.float32, (3, 20, 20))]


def test_a_flip_after_is_a_flip_of_the_views():
    torch.manual_seed(5)
    plain = CropMix(size=32, number=4)(PIXELS)
    torch.manual_seed(5)
    assert torch.equal(CropMix(size=32, number=4, post_aug=v2.RandomHorizontalFlip(1.0))(PIXELS), plain.flip(-1))


def test_defaults_are_the_authors():
    assert CropMix().settings == CropMixSettings(0.01, 0.4, 234, 0, False, 224, None)


@pytest.mark.parametrize("operation", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (16, 16), (2, 300)])
def test_images_of_any_shape(operation, shape):
    image = torch.randint(256, (3, *shape), dtype=torch.uint8)
    for _ in range(20):
        assert CropMix(operation=operation, inter_aug=True, size=16)(image).shape == (3, 16, 16)


def test_one_colour_stays_that_colour():
    image = torch.tensor([255, 0, 129], dtype=torch.uint8)[:, None, None].expand(3, 40, 50)
    for _ in range(50):
        out = CropMix(size=24, mix_ratio=3.0)(image)
        assert (image[:, 0, 0] == out.flatten(1).unique(dim=1).T).all()


def test_grey_images():
    grey = PICTURE.convert("L")
    assert CropMix(size=16)(grey).shape == (1, 16, 16)
    assert CropMix(size=16, operation=1)(PIXELS[:1]).dtype == torch.uint8
    four = torch.full((4, 20, 30), 7, dtype=torch.uint8)
    assert all((CropMix(size=16, operation=operation)(four) == 7).all() for operation in (0, 1) for _ in range(9))
    with pytest.raises(UserError, match="inter_aug permutes the channels of colour images; this one has 1"):
        CropMix(size=16, inter_aug=True)(grey)


def test_image_tensors_of_torchvision():
    out = CropMix(size=16)(tv_tensors.Image(PIXELS))
    assert out.dtype == torch.uint8 and out.shape == (3, 16, 16)


def test_memory_formats_give_the_same():
    results = []
    for image in (PIXELS, PIXELS.contiguous(), PIXELS.contiguous().flip(2).flip(2)):
        torch.manual_seed(1)
        results.append(CropMix(size=40, inter_aug=True)(image))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS / 255, r"uint8 \(C, H, W\) tensor, not torch.float32 \(3, 333, 500\): put ToDtype"),
        (PIXELS[None], r"not torch.uint8 \(1, 3, 333, 500\)"),
        (PICTURE.convert("RGBA"), "not one in mode 'RGBA': convert it"),
        (np.asarray(PICTURE), "takes one image, PIL's or a tensor, not 0"),
        (torch.zeros(3, 0, 5, dtype=torch.uint8), "no pixels: 0 x 5"),
        ((PICTURE, PICTURE), "takes one image, PIL's or a tensor, not 2"),
    ],
)
def test_other_input_is_refused(image, message):
    with pytest.raises(UserError, match=message):
        CropMix(size=16)(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": 5}, "number must be 2, 3 or 4 crops, or 234 .*, got 5"),
        ({"number": 1}, "number must be"),
        ({"number": True}, "number must be"),
        ({"scale": 0}, "scale must be .* between 0 and 1, got 0"),
        ({"scale": 1.0}, "scale must be"),
        ({"scale": "0.1"}, "scale must be"),
        ({"scale": float("nan")}, "scale must be"),
        ({"mix_ratio": 0}, "mix_ratio must be Beta's parameter, a number above 0, got 0"),
        ({"mix_ratio": float("inf")}, "mix_ratio must be"),
        ({"operation": 2}, "operation must be 0 for mixup or 1 for cutmix, got 2"),
        ({"operation": "mixup"}, "operation must be"),
        ({"inter_aug": 1}, "inter_aug must be True or False, got 1"),
        ({"size": 0}, "size must be the edge of the result in pixels, at least 1, got 0"),
        ({"size": (224, 224)}, "size must be"),
        ({"preset": "published"}, "preset must be 'as_published' or None, got 'published'"),
        ({"post_aug": 3}, "post_aug must be a callable or a list"),
        ({"post_aug": [{"type": "RandomHorizontalFlip"}]}, "in a config, put transforms after CropMix"),
    ],
)
def test_bad_arguments_name_the_argument_and_what_would_be_right(arguments, message):
    with pytest.raises(UserError, match=message):
        CropMix(**arguments)


def test_as_published_the_first_image_decides():
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        transform = CropMix(size=8, preset="as_published")
        numbers = {len(transform.make_params([PIXELS])["plan"].views) for _ in range(10)}
        assert len(numbers) == 1
        seen |= numbers
        assert len({len(CropMix().make_params([PIXELS])["plan"].views) for _ in range(30)}) == 3
    assert seen == {2, 3, 4}


def test_it_is_registered_and_pickles():
    built = build({"type": "CropMix", "scale": 0.5, "number": 2, "size": 32}, REGISTRY)
    assert TRANSFORMS["CropMix"] is CropMix and type(built) is CropMix
    copy = pickle.loads(pickle.dumps(built))
    torch.manual_seed(2)
    one = built(PIXELS)
    torch.manual_seed(2)
    assert torch.equal(copy(PIXELS), one) and "scale=0.5" in repr(built)


def test_loading_does_not_depend_on_the_workers():
    images = PIXELS[:, :40, :40].expand(12, 3, 40, 40).clone()
    source = ArraySource(images, torch.zeros(12, dtype=torch.int64), ("a",))
    batches = []
    for workers in (0, 2):
        loader = TorchLoader(source, 6, pipeline=[CropMix(size=24, inter_aug=True)], num_workers=workers)
        batches.append(torch.cat([batch.images for _, batch in loader.epoch(0)]))
        loader.close()
    assert torch.equal(batches[0], batches[1]) and batches[0].dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in batches[0]}) == 12


def test_permutations_are_all_six():
    assert len({tuple(row) for row in PERMUTATIONS}) == 6
