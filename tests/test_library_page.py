"""What docs/library.md shows runs, block by block."""

import functools
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import openmix

PAGE = (Path(__file__).parent.parent / "docs/library.md").read_text()

needs_lightning = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="lightning is not installed: no part of openmix needs it"
)


def blocks() -> list:
    """Return each Python block, named by its heading and its place under it."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        for i, code in enumerate(re.findall(r"```python\n(.*?)```", section, re.DOTALL)):
            marks = [needs_lightning] if "import lightning" in code else []
            found.append(pytest.param(code, id=f"{heading} {i}", marks=marks))
    return found


@pytest.fixture(scope="module")
def learned(lab, tmp_path_factory):
    """A folder in which a run of AutoMix has left its checkpoint where the page has it."""
    folder = tmp_path_factory.mktemp("learned")
    network = {"backbone": {"type": "ConvNet", "widths": [4, 8]}, "head": {"type": "ClsMixupHead", "num_classes": 10}}
    shape = {"dataset": {"image_shape": [3, 8, 8]}}
    path = lab.write(
        folder,
        model={"type": "AutoMixClassification", **network},
        data_preprocessor={"mean": [0.5] * 3, "std": [0.25] * 3},
        train_dataloader=shape,
        val_dataloader=shape,
    )
    lab.train(path, folder / "work_dirs/RUN", train_cfg__max_epochs=1)
    return folder


@pytest.fixture
def names() -> dict:
    """What the page says is there: loaders, a model and its optimizer."""
    torch.manual_seed(0)
    images, labels = torch.rand(5, 3, 32, 32), torch.tensor([0, 3, 9, 3, 5])
    maps = torch.tensor([0, 20, 255])[torch.randint(3, (5, 1, 32, 32))]
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    return {
        "dataset": list(zip(images, labels.tolist(), strict=True)),
        "loader": [(images, labels), (images[:2], labels[:2])],
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "segmentation_loader": [(images, maps)],
        "segmenter": nn.Conv2d(3, 21, 1),
    }


@pytest.mark.parametrize("code", blocks())
def test_blocks_run(code, names, monkeypatch, request):
    torch._dynamo.reset()
    if "work_dirs/RUN" in code:
        monkeypatch.chdir(request.getfixturevalue("learned"))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # in a second
    exec(compile(code, "docs/library.md", "exec"), names)
    if "loss" in names:
        assert torch.isfinite(names["loss"])
        assert names["loss"].ndim == 0


def test_every_section_of_the_contents_exists():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings]
    assert re.findall(r"\]\(#([^)]+)\)", PAGE) == anchors


@pytest.mark.parametrize("name", ["Choice", "PerSample", "Window", "Repeat"])
def test_signatures_of_compositions(name):
    written = re.search(rf"\| `{name}\((.*?)\)` \|", PAGE)
    parameters = inspect.signature(getattr(openmix, name)).parameters.values()
    assert written
    assert written[1] == ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)


@needs_lightning
@pytest.mark.filterwarnings("ignore")  # lightning's own
def test_lightning_mixes_in_training_only(names, tmp_path):
    import lightning

    code = next(p.values[0] for p in blocks() if "import lightning" in p.values[0])
    exec(compile(code, "docs/library.md", "exec"), names)
    seen: dict[str, list] = {"train": [], "val": []}

    class Spy(names["Classifier"]):
        def training_step(self, batch, batch_idx):
            seen["train"].append(batch)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            seen["val"].append(batch)
            super().validation_step(batch, batch_idx)

    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(names["dataset"], 5)
    trainer.fit(Spy(names["model"]), loader, loader)
    images, labels = next(iter(loader))
    assert len(seen["train"]) == 2
    assert all(isinstance(target, openmix.MixTarget) for _, target in seen["train"])
    assert any(not torch.equal(x, images) for x, _ in seen["train"])
    assert seen["val"] and all(torch.equal(x, images) and torch.equal(y, labels) for x, y in seen["val"])
