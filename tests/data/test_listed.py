"""Data sets that lists name: torchvision's own classes say which image has which label."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image

from openmix.data import Synthetic
from openmix.data.sources import CUB200, SOURCES, FGVCAircraft, FileList, INaturalist, StanfordCars
from openmix.errors import DamagedImageError, UserError


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (len(name), 2, 3)).save(root / name, "JPEG")


def samples(source) -> list[tuple[str, int]]:
    return [(source.paths[i], int(source.labels[i])) for i in range(len(source))]


class TestFileList:
    """OpenMixup's meta files, tabs, and MXNet's .lst."""

    def listed(self, tmp_path, text: str, name: str = "train.txt", **options) -> FileList:
        (tmp_path / name).write_text(text)
        return FileList(str(tmp_path), str(tmp_path / name), **options)

    def test_space(self, tmp_path):
        write(tmp_path, "b/1.jpg", "a/2.jpg", "a/a c.jpg")
        source = self.listed(tmp_path, "b/1.jpg 1\na/2.jpg 0\n\na/a c.jpg 3\n")
        expected = [(f"{tmp_path}/b/1.jpg", 1), (f"{tmp_path}/a/2.jpg", 0), (f"{tmp_path}/a/a c.jpg", 3)]
        assert samples(source) == expected and source.classes == ("0", "1", "2", "3")
        assert source[0][0].shape == (3, 4, 5) and source[2][1] == 3

    def test_tab(self, tmp_path):
        write(tmp_path, "a b 7.jpg", "c.jpg")
        assert samples(self.listed(tmp_path, "a b 7.jpg\t2\r\nc.jpg\t0")) == [
            (f"{tmp_path}/a b 7.jpg", 2),
            (f"{tmp_path}/c.jpg", 0),
        ]

    def test_mxnet(self, tmp_path):
        write(tmp_path, "a b.jpg", "c.jpg")
        found = self.listed(tmp_path, "17\t2.000000\ta b.jpg\n3\t0.000000\tc.jpg\n", "x.lst")
        assert samples(found) == [(f"{tmp_path}/a b.jpg", 2), (f"{tmp_path}/c.jpg", 0)]

    def test_absolute_paths_and_names_of_classes(self, tmp_path):
        write(tmp_path / "else", "c.jpg")
        (tmp_path / "names.txt").write_text("cat\nlarge dog\n\n")
        source = self.listed(tmp_path, f"{tmp_path}/else/c.jpg 1\n", classes=str(tmp_path / "names.txt"), num_classes=2)
        assert samples(source) == [(f"{tmp_path}/else/c.jpg", 1)] and source.classes == ("cat", "large dog")

    def test_an_image_may_be_listed_twice(self, tmp_path):
        write(tmp_path, "c.jpg")
        assert len(self.listed(tmp_path, "c.jpg 1\nc.jpg 1\n")) == 2

    def test_missing_files_are_found_when_read(self, tmp_path):
        write(tmp_path, "c.jpg")
        source = self.listed(tmp_path, "c.jpg 1\nd.jpg 0\n")
        with pytest.raises(DamagedImageError, match=f"^{tmp_path}/d.jpg cannot be read: No such file"):
            source[1]

    @pytest.mark.parametrize(
        ("name", "text", "options", "message"),
        [
            ("t.txt", "c.jpg 0\nc.jpg\n", {}, r"t.txt, line 2: 'c.jpg'; expected lines of PATH LABEL, a label from 0$"),
            ("t.txt", "c.jpg -1\n", {}, "t.txt, line 1: 'c.jpg -1'; expected lines of PATH LABEL"),
            ("t.txt", "c.jpg 1.5\n", {}, "line 1: 'c.jpg 1.5'"),
            ("t.txt", "c.jpg nan\n", {}, "line 1: 'c.jpg nan'"),
            ("t.txt", "\t3\n", {}, "line 1: '3'"),
            ("t.txt", "c.jpg 0\nc.jpg 2\n", {}, r"line 2: c.jpg has the label 2, and 0 before$"),
            ("t.lst", "1\tc.jpg\n", {}, r"t.lst, line 1: .*; expected lines of INDEX<tab>LABEL<tab>PATH$"),
            ("t.lst", "1\t0\t1\tc.jpg\n", {}, "t.lst, line 1"),
            ("t.txt", "\n", {}, "t.txt names no image; expected lines of PATH LABEL"),
            ("t.txt", "c.jpg 2\n", {"num_classes": 2}, r"FileList: c.jpg has the label 2, .* are 0..1 \(1 of 1"),
            ("t.txt", "c.jpg 0\n", {"num_classes": 2, "classes": ["a"]}, "1 class names, and num_classes is 2"),
            ("t.txt", "c.jpg 0\n", {"num_classes": 0}, "num_classes must be at least 1, not 0"),
            ("t.txt", "x.jpg 0\n", {}, "the first image of the list is missing: there is no .*/x.jpg"),
            ("t.txt", "c.jpg 0\n", {"classes": "nowhere.txt"}, "there is no file nowhere.txt"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, tmp_path, name, text, options, message):
        write(tmp_path, "c.jpg")
        with pytest.raises(UserError, match=message):
            self.listed(tmp_path, text, name, **options)

    def test_no_list_no_text_no_folder(self, tmp_path):
        with pytest.raises(UserError, match=r"there is no file nowhere.txt"):
            FileList(str(tmp_path), "nowhere.txt")
        with pytest.raises(UserError, match=r"data_root is no folder: nowhere"):
            FileList("nowhere", "nowhere.txt")
        (tmp_path / "t.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(UserError, match=r"t.txt cannot be read: it is damaged, or no text"):
            FileList(str(tmp_path), str(tmp_path / "t.txt"))

    def test_layout(self, tmp_path):
        (tmp_path / "t.txt").write_text("a.jpg 4\n")
        options = {"data_root": "nowhere", "list_file": str(tmp_path / "t.txt")}
        assert FileList.layout(options) == (5, (3, 256, 256))
        assert FileList.layout({**options, "list_file": "nowhere", "num_classes": 9})[0] == 9
        assert FileList.layout({**options, "classes": ["a", "b"]})[0] == 2
        with pytest.raises(UserError, match=r"with num_classes, a config can be checked without its data"):
            FileList.layout({**options, "list_file": "nowhere"})


class TestCUB200:
    """By hand: torchvision has no CUB."""

    IMAGES = ("001.Albatross/B_0046_18.jpg", "001.Albatross/A_0009_34.jpg", "002.Auklet/C_1.jpg", "003.Ani/D 2.jpg")

    @pytest.fixture
    def root(self, tmp_path) -> Path:
        root = tmp_path / "CUB_200_2011"
        write(root / "images", *self.IMAGES)
        (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(self.IMAGES, 1)))
        (root / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n4 3\n")
        (root / "train_test_split.txt").write_text("1 0\n2 1\n3 1\n4 0\n")
        (root / "classes.txt").write_text("1 001.Albatross\n2 002.Auklet\n3 003.Ani\n")
        return root

    def test_splits(self, root, tmp_path):
        train, test = CUB200(str(root)), CUB200(str(tmp_path), "test")
        assert samples(train) == [(f"{root}/images/{self.IMAGES[1]}", 0), (f"{root}/images/{self.IMAGES[2]}", 1)]
        assert samples(test) == [(f"{root}/images/{self.IMAGES[0]}", 0), (f"{root}/images/{self.IMAGES[3]}", 2)]
        assert train.classes == test.classes == ("001.Albatross", "002.Auklet", "003.Ani")
        assert train[0][0].shape == (3, 4, 5)

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("image_class_labels.txt", "1 1\n2 1\n3 2\n", "image 4 is in one of images.txt and image_class_labels.txt"),
            ("train_test_split.txt", "1 0\n2 1\n", "image 3 is in one of images.txt and train_test_split.txt alone"),
            ("image_class_labels.txt", "1 1\n2 1\n3 7\n4 3\n", "CUB200: 002.Auklet/C_1.jpg has the label 6"),
            ("image_class_labels.txt", "1 1\n2 x\n3 7\n4 3\n", "a label that is no number"),
            ("images.txt", "1 a.jpg\n1 b.jpg\n", "images.txt, line 2: '1 b.jpg'; expected a number not seen before"),
            ("classes.txt", "1 a\n3 b\n", "does not number its classes 1, 2, 3"),
        ],
    )
    def test_damaged(self, root, file, text, message):
        (root / file).write_text(text)
        with pytest.raises(UserError, match=message):
            CUB200(str(root))

    def test_missing(self, root):
        with pytest.raises(UserError, match=r"^CUB200 was not found: there is no nowhere; unpack CUB_200_2011.tgz"):
            CUB200("nowhere")
        (root / "classes.txt").unlink()
        with pytest.raises(UserError, match=r"there is no file .*classes.txt"):
            CUB200(str(root))
        with pytest.raises(UserError, match=r"splits train and test, not 'val'"):
            CUB200(str(root), "val")  # pyright: ignore[reportArgumentType]


class TestStanfordCars:
    """torchvision's class on the devkit; ImageFolder on the copies that people have."""

    CLASSES = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van 2012", "Acura RL Sedan 2012")

    def annotate(self, path: Path, rows: list[tuple[str, int]]) -> None:
        kinds = [(key, object) for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        table = np.array([(1, 2, 3, 4, np.uint8(label), name) for name, label in rows], dtype=kinds)
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {"annotations": table[None]})

    @pytest.fixture
    def root(self, tmp_path) -> Path:
        root = tmp_path / "stanford_cars"
        write(root, *(f"cars_{split}/{i:05d}.jpg" for split in ("train", "test") for i in (1, 2, 3)))
        rows = [("00002.jpg", 3), ("00001.jpg", 1), ("00003.jpg", 2)]
        self.annotate(root / "devkit/cars_train_annos.mat", rows)
        self.annotate(root / "cars_test_annos_withlabels.mat", rows[::-1])
        scipy.io.savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([self.CLASSES], dtype=object)})
        return root

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_the_devkit_is_torchvisions(self, root, tmp_path, split):
        oracle = torchvision.datasets.StanfordCars(tmp_path, split)
        for place in (root, tmp_path):
            source = StanfordCars(str(place), split)
            assert samples(source) == oracle._samples and source.classes == tuple(oracle.classes)

    def test_labels_of_the_test_set_may_lie_in_the_devkit(self, root):
        name = "cars_test_annos_withlabels.mat"
        before = samples(StanfordCars(str(root), "test"))
        (root / name).rename(root / "devkit" / name)
        assert samples(StanfordCars(str(root), "test")) == before
        (root / "devkit" / name).unlink()
        with pytest.raises(UserError, match=r"^StanfordCars: there is no cars_test_annos_withlabels.mat in "):
            StanfordCars(str(root), "test")

    def test_one_image_alone(self, root):
        self.annotate(root / "devkit/cars_train_annos.mat", [("00002.jpg", 3)])
        assert samples(StanfordCars(str(root))) == [(f"{root}/cars_train/00002.jpg", 2)]

    @pytest.mark.parametrize("inner", ["", "car_data", "car_data/car_data"])
    def test_folders(self, tmp_path, inner):
        write(tmp_path / inner, "train/B 2012/1.jpg", "train/A 2011/2.jpg", "test/A 2011/3.jpg", "test/B 2012/4.jpg")
        oracle = torchvision.datasets.ImageFolder(tmp_path / inner / "train")
        source = StanfordCars(str(tmp_path))
        assert samples(source) == oracle.samples and source.classes == tuple(oracle.classes)

    def test_damaged(self, root):
        scipy.io.savemat(root / "devkit/cars_train_annos.mat", {"annotations": np.zeros(3)})
        with pytest.raises(UserError, match=r"its annotations lack fname or class"):
            StanfordCars(str(root))
        (root / "devkit/cars_train_annos.mat").write_bytes(b"no mat")
        with pytest.raises(UserError, match=r"cars_train_annos.mat is damaged, or no .mat file with 'annotations'"):
            StanfordCars(str(root))
        with pytest.raises(UserError, match=r"^StanfordCars was not found: there is no nowhere; Stanford Cars is read"):
            StanfordCars("nowhere")


class TestFGVCAircraft:
    """torchvision's class on the archive's layout."""

    @pytest.fixture
    def root(self, tmp_path) -> Path:
        data = tmp_path / "fgvc-aircraft-2013b" / "data"
        write(data / "images", *(f"{i:07d}.jpg" for i in range(6)))
        names = {
            "variant": ["707-320", "Boeing 717", "A340 200/300"],
            "family": ["B", "A 3"],
            "manufacturer": ["Z", "Y"],
        }
        files = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
        for level, classes in names.items():
            (data / f"{files[level]}.txt").write_text("".join(f"{name}\n" for name in classes))
            for split, numbers in {"train": (4, 1), "val": (0, 3), "trainval": (4, 0, 1, 3), "test": (2, 5)}.items():
                rows = [f"{i:07d} {classes[i % len(classes)]}\n" for i in numbers]
                (data / f"images_{level}_{split}.txt").write_text("".join(rows))
        return tmp_path / "fgvc-aircraft-2013b"

    @pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
    @pytest.mark.parametrize("level", ["variant", "family", "manufacturer"])
    def test_it_is_torchvisions(self, root, tmp_path, split, level):
        oracle = torchvision.datasets.FGVCAircraft(tmp_path, split, level)
        for place in (tmp_path, root, root / "data"):
            source = FGVCAircraft(str(place), split, level)
            assert samples(source) == list(zip(oracle._image_files, oracle._labels, strict=True))
            assert source.classes == tuple(oracle.classes)

    def test_what_is_wrong_is_said(self, root):
        (root / "data/images_variant_test.txt").write_text("0000001 Concorde\n")
        with pytest.raises(
            UserError, match=r"images_variant_test.txt, line 1: '0000001 Concorde'; expected an image and"
        ):
            FGVCAircraft(str(root), "test")
        (root / "data/images_variant_test.txt").unlink()
        with pytest.raises(UserError, match=r"there is no file .*images_variant_test.txt; unpack fgvc-aircraft-2013b"):
            FGVCAircraft(str(root), "test")
        with pytest.raises(UserError, match=r"^FGVCAircraft was not found: there is no nowhere; unpack"):
            FGVCAircraft("nowhere")
        with pytest.raises(UserError, match=r"levels variant, family, manufacturer, not 'model'"):
            FGVCAircraft(str(root), "test", "model")  # pyright: ignore[reportArgumentType]


class TestINaturalist:
    """JSON by hand, folders by torchvision's class."""

    FILES = ("train_val2018/Aves/1/b.jpg", "train_val2018/Plantae/0/a.jpg", "train_val2018/Aves/2/c.jpg")

    def content(self) -> dict[str, list[dict[str, object]]]:
        return {
            "images": [{"id": 9 - i, "file_name": name, "width": 5} for i, name in enumerate(self.FILES)],
            "annotations": [{"id": 5, "image_id": 9 - i, "category_id": (1, 0, 2)[i]} for i in (2, 0, 1)],
            "categories": [{"id": i, "name": f"species {i}", "supercategory": "Aves"} for i in (2, 0, 1)],
        }

    @pytest.mark.parametrize("name", ["train2018.json", "train.json"])
    def test_json(self, tmp_path, name):
        write(tmp_path, *self.FILES)
        (tmp_path / name).write_text(json.dumps(self.content()))
        source = INaturalist(str(tmp_path))
        assert samples(source) == [
            (f"{tmp_path}/{file}", label) for file, label in zip(self.FILES, (1, 0, 2), strict=True)
        ]
        assert source.classes == ("species 0", "species 1", "species 2")

    @pytest.mark.parametrize(
        ("year", "names"),
        [
            (2017, ["Aves/Zonotrichia a/1.jpg", "Aves/Anas b/2.jpg", "Insecta/Apis/3.jpg", "Actinopterygii/X/4.jpg"]),
            (2018, ["Plantae/0/1.jpg", "Aves/10/2.jpg", *(f"Fungi/{i}/4.jpg" for i in range(1, 10))]),
            (2021, [f"{i:05d}_Animalia_P_C_O_F_G_{name}/1.jpg" for i, name in enumerate("zab")]),
        ],
    )  # fmt: skip
    def test_folders_are_torchvisions(self, tmp_path, year, names):
        version = "2021_train" if year == 2021 else str(year)
        write(tmp_path / version, *names)
        (tmp_path / "train").symlink_to(version)
        oracle = torchvision.datasets.INaturalist(tmp_path, version)
        source = INaturalist(str(tmp_path), year=year)
        assert list(source.classes) == oracle.all_categories
        expected = [(f"{tmp_path}/train/{oracle.all_categories[label]}/{name}", label) for label, name in oracle.index]
        assert samples(source) == expected

    def test_the_forms_agree(self, tmp_path):
        write(tmp_path, *self.FILES)
        (tmp_path / "train2018.json").write_text(json.dumps(self.content()))
        by_json = {Path(path).name: label for path, label in samples(INaturalist(str(tmp_path)))}
        (tmp_path / "train2018.json").unlink()
        (tmp_path / "train").symlink_to("train_val2018")
        assert {Path(path).name: label for path, label in samples(INaturalist(str(tmp_path)))} == by_json

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("annotations", [], r"has no category for train_val2018/Aves/1/b.jpg \(3 of 3 images\)"),
            ("categories", [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}], "has an id twice among its categories"),
            ("images", [{"id": 1}], "is damaged, or no list of iNaturalist, .*KeyError: 'file_name'"),
            ("images", None, "is damaged, or no list of iNaturalist"),
            ("images", [], "the list for .* names no image"),
        ],
    )
    def test_damaged(self, tmp_path, key, value, message):
        (tmp_path / "train2018.json").write_text(json.dumps({**self.content(), key: value}))
        with pytest.raises(UserError, match=message):
            INaturalist(str(tmp_path))

    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match=r"there is no nowhere/val2017.json, and no folder nowhere/val; fetch the"):
            INaturalist("nowhere", "val", 2017)
        with pytest.raises(UserError, match=r"years 2017, 2018, 2019, 2021 and the splits train and val, not 2020"):
            INaturalist("nowhere", "val", 2020)
        write(tmp_path, "train/Aves/1/a.jpg", "train/Aves/3/a.jpg", "train/Aves/0/a.jpg")
        with pytest.raises(UserError, match=r"holds 3 folders named by numbers, and none is 2"):
            INaturalist(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "num_classes"),
    [
        ("CUB200", {"split": "test"}, 200),
        ("StanfordCars", {}, 196),
        ("FGVCAircraft", {}, 100),
        ("FGVCAircraft", {"level": "family"}, 70),
        ("INaturalist", {}, 8142),
        ("INaturalist", {"year": 2017}, 5089),
    ],
)
def test_a_config_is_checked_without_the_data(name, options, num_classes):
    stand_in = Synthetic.instead_of(SOURCES[name], options, length=2)
    assert (len(stand_in), stand_in.num_classes, stand_in.image_shape) == (2, num_classes, (3, 256, 256))
