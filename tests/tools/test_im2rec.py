"""tools/im2rec.py: MXNet's way of working, in two calls."""

import random
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.data.recordio import RecordFile
from openmix.data.sources.recordio import RecordIO

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def im2rec() -> Callable[..., int]:
    main = runpy.run_path(str(ROOT / "tools/im2rec.py"))["main"]
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def tree(tmp_path) -> Path:
    for number in range(20):
        path = tmp_path / "set" / f"c{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "set"


def test_one_list(im2rec, tree, tmp_path):
    prefix = tmp_path / "all"
    assert im2rec(prefix, tree, "--list", "--recursive") == 0
    order = list(range(20))
    random.seed(100)  # what MXNet's does
    random.shuffle(order)
    lines = [line.split("\t") for line in (tmp_path / "all.lst").read_text().splitlines()]
    assert [int(line[0]) for line in lines] == order
    assert all(line[1] == f"{float(line[2][1]):f}" for line in lines)
    assert im2rec(prefix, tree, "--pass-through") == 0
    source = RecordIO(str(tmp_path / "all.rec"))
    assert RecordFile(tmp_path / "all.rec").keys.tolist() == order
    for index, line in enumerate(lines):
        assert source.encoded(index).tobytes() == (tree / line[2]).read_bytes()
        assert source.labels[index] == float(line[1])


def test_parts_and_encoding(im2rec, tree, tmp_path):
    prefix = tmp_path / "p"
    assert im2rec(prefix, tree, "--list", "--recursive", "--train-ratio", 0.7, "--test-ratio", 0.1) == 0
    (tmp_path / "p_small.lst").write_text("not one of them")
    assert im2rec(prefix, tree, "--resize", 16, "--center-crop", "--color", 0, "--encoding", ".png") == 0
    sizes = {name: len(RecordIO(str(tmp_path / f"p_{name}.rec"))) for name in ("test", "train", "val")}
    assert sizes == {"test": 2, "train": 14, "val": 4}
    image, _ = RecordIO(str(tmp_path / "p_val.rec"))[0]
    assert image.shape == (3, 16, 16) and (image[0] == image[1]).all()
    assert not (tmp_path / "p_small.rec").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--list"], "--list takes --recursive"),
        (["--list", "--recursive", "--train-ratio", "0.9", "--test-ratio", "0.2"], "at most 1 together"),
        ([], "there is no"),
    ],
)
def test_refused(im2rec, tree, tmp_path, capsys, arguments, reason):
    assert im2rec(tmp_path / "p", tree, *arguments) == 2
    assert reason in capsys.readouterr().err


def test_lists_are_not_written_over(im2rec, tree, tmp_path, capsys):
    assert im2rec(tmp_path / "p", tree, "--list", "--recursive", "--no-shuffle") == 0
    assert im2rec(tmp_path / "p", tree, "--list", "--recursive") == 2
    assert "--force" in capsys.readouterr().err
    assert im2rec(tmp_path / "p", tree, "--color", -1) == 2
    assert "not supported" in capsys.readouterr().err
    assert im2rec(tmp_path / "p", tree, "--num-thread", 0) == 2
    assert "--num-thread must be at least 1, got 0" in capsys.readouterr().err
    assert im2rec(tmp_path / "p", tree, "--pass-through", "--resize", 8, "--color", 0) == 2
    assert "without --resize, --color; leave one out" in capsys.readouterr().err


def test_a_class_without_images_is_a_message(im2rec, tree, tmp_path, capsys):
    (tree / "c9").mkdir()
    assert im2rec(tmp_path / "new" / "p", tree, "--list", "--recursive") == 0
    assert capsys.readouterr().err == f"warning: {tree}: no image of 1 of 3 classes: c9\n"
