"""Published figures: every cell of the seed documents is there, and what is known to be wrong with one is said."""

import csv
import re
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest

import openmix
from openmix.errors import UserError
from openmix.results import published
from openmix.results.published import COLUMNS, Published, lookup, names, read
from openmix.results.published.sources import SOURCES

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"

METHODS = {
    "Baseline": "vanilla", "AA": "autoaugment", "Fast AA": "fast-autoaugment", "PBA": "pba", "RA": "randaugment",
    "OHL-AA": "ohl-autoaugment", "Faster AA": "faster-autoaugment", "SaliencyMixx": "saliencymix",
    "Puzzle Mix": "puzzlemix", "ResizeMix+": "resizemixplus", "AttentiveMix+": "attentivemix", "R-Mix": "rmix",
}  # fmt: skip
NETWORKS = {
    "WRS28-10": "wrn28-10", "SS-2X96d": "ss26-2x96d", "ResNet-50": "r50", "ResNet-101": "r101", "ResNet-18": "r18",
    "ResNeXt-50": "rx50", "PreActResNet18": "preactresnet18", "WideResNet28-10": "wrn28-10",
    "WideResNet16-8": "wrn16-8", "ResNeXt29-4-24": "resnext29-4-24",
}  # fmt: skip


OF_SELF_SUPERVISION = (
    "moco-cifar", "lightly-cifar-128", "lightly-cifar-512", "solo-learn-cifar", "simsiam-cifar", "mae-cifar",
)  # fmt: skip


class Cell(NamedTuple):
    """What a cell of a seed's table says of the figure in it."""

    source: str
    dataset: str
    network: str
    method: str
    printed: str
    epochs: int | None = None
    alpha: tuple[float, ...] = ()
    add_cost: bool | None = None


def seed_document(start: str) -> str:
    """Return the seed document that starts so."""
    if not SEEDS.is_dir():
        pytest.skip("the seed documents are not at ../shared/seeds")
    return next(text for file in sorted(SEEDS.glob("*.txt")) if (text := file.read_text()).startswith(start))


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Return a document's tables as rows of cells, without the line below the head."""
    blocks = re.findall(r"(?:^\|.*\|[ ]*$\n?)+", text, re.M)
    rows = [[[c.strip() for c in line.strip().strip("|").split("|")] for line in b.splitlines()] for b in blocks]
    return [[row for row in table if not set("".join(row)) <= set(":-")] for table in rows]


def method(printed: str) -> str:
    return METHODS.get(printed, printed.rstrip("*").lower())


def resizemix_cells() -> list[Cell]:
    tables = markdown_tables(seed_document("# ResizeMix"))
    assert len(tables) == 3
    return [
        Cell("resizemix", dataset, NETWORKS[head], method(row[0]), row[k], add_cost=row[1] == "√")
        for dataset, (heads, *rows) in zip(("cifar10", "cifar100", "imagenet"), tables, strict=True)
        for k, head in enumerate(heads)
        if head in NETWORKS
        for row in rows
        if row[k] != "-"
    ]


def openmixup_cells() -> list[Cell]:
    tables = markdown_tables(seed_document("# Mixup Classification Benchmark on CIFAR-10"))
    assert len(tables) == 2
    return [
        Cell(
            "openmixup", "cifar10", NETWORKS[heads[k]], method(row[0]), row[k],
            epochs=int(lengths[k].split()[0]), alpha=() if row[1] == "-" else (float(row[1]),),
        )
        for heads, lengths, *rows in tables
        for k in range(2, 6)
        for row in rows
    ]  # fmt: skip


def rmix_cells() -> list[Cell]:
    (_, *rows), *others = markdown_tables(seed_document("# Official PyTorch implementation of R-Mix"))
    assert not others
    split = [re.fullmatch(r"(\S+) \((\S+)\), (\S+)", row[0]).groups() for row in rows]
    datasets = {"CIFAR-100": "cifar100", "ImageNet": "imagenet"}
    return [
        Cell("rmix", datasets[dataset], NETWORKS[network], method(name), row[1])
        for (network, dataset, name), row in zip(split, rows, strict=True)
    ]


def as_cell(f: Published, like: Cell) -> Cell:
    """Return what a seed's cell says of a figure; of epochs and alpha only where the seed prints them."""
    printed_there = like.source == "openmixup"
    return Cell(
        f.source, f.dataset, f.network, f.method, f.printed, add_cost=f.add_cost,
        epochs=f.epochs if printed_there else None, alpha=f.alpha if printed_there else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells_of", "count", "also"),
    [(resizemix_cells, 62, 0), (rmix_cells, 7, 0), (openmixup_cells, 104, 1)],  # AlignMix is on the benchmark page only
)
def test_every_cell_of_the_seeds_is_there_once_and_nothing_else(cells_of, count, also):
    cells = cells_of()
    assert len(cells) == count
    there = [f for f in read() if f.source == cells[0].source and f.dataset in {c.dataset for c in cells}]
    if cells[0].source == "openmixup":
        there = [f for f in there if f.dataset == "cifar10"]
    found = Counter(as_cell(f, cells[0]) for f in there)
    assert Counter(cells) - found == Counter()
    assert (found - Counter(cells)).total() == also
    assert all(f.metric == "top1" for f in there)


def test_the_fourth_seed_has_no_table_of_figures():
    assert markdown_tables(seed_document("# CropMix")) == []


@pytest.mark.parametrize(
    ("where", "printed", "statistic"),
    [
        (("cifar10", "r18", "samix", 800), ["97.50"], "median_last10"),
        (("cifar10", "rx50", "gridmix", 1200), ["95.79"], "median_last10"),
        (("cifar100", "wrn28-8", "puzzlemix", 400), ["85.02"], "median_last10"),
        (("cifar100", "ss26-2x96d", "cutmix"), ["85.0"], "unknown"),
        (("cifar100", "resnext29-4-24", "rmix"), ["83.02"], "last"),
        (("imagenet", "r101", "saliencymix", 100), ["79.32"], "median_last5"),
        (("imagenet", "r101", "saliencymix", 300), ["80.45"], "median_last10"),
        (("imagenet", "mobilenetv2", "mixup+cutmix", 300), ["72.87"], "median_last10"),
        (("imagenet", "pvt-s", "smmix"), ["81.03"], "best_mean3"),
        (("imagenet", "r34", "adautomix"), ["74.82"], "unknown"),
        (("tiny-imagenet", "rx50", "samix"), ["72.18"], "median_last10"),
        (("cub200", "r18", "automix", 200), ["79.87"], "median_last10"),
        (("inat2018", "rx101", "cutmix"), ["69.75"], "median_last5"),
        (("places205", "r50", "samix"), ["64.27"], "median_last5"),
    ],
)
def test_some_cells(where, printed, statistic):
    found = lookup(*where)
    assert [f.printed for f in found] == printed
    assert {f.statistic for f in found} == {statistic}


def test_vits_on_cifar_are_of_the_best_of_the_last_epochs_and_have_their_cost_beside():
    found = {(f.metric, f.epochs): (f.printed, f.statistic) for f in lookup("cifar100", "deit-s", "puzzlemix")}
    assert found == {
        ("top1", 200): ("73.60", "best_last10"),
        ("top1", 600): ("81.01", "best_last10"),
        ("memory_gb", None): ("8.3", ""),
        ("train_hours", 600): ("35", ""),
    }


def test_no_figure_is_there_twice():
    keys = Counter(
        (f.source, f.dataset, f.network, f.recipe, f.method, f.variant, f.epochs, f.metric, f.statistic) for f in read()
    )
    assert [key for key, n in keys.items() if n > 1] == []
    assert len(read()) > 1100


@pytest.mark.parametrize(
    ("field", "vocabulary"),
    [
        ("dataset", names.DATASETS),
        ("network", names.NETWORKS),
        ("method", names.METHODS),
        ("metric", names.METRICS),
        ("statistic", names.STATISTICS),
        ("recipe", names.RECIPES),
        ("source", SOURCES),
    ],
)
def test_vocabularies_hold_what_is_used_and_nothing_else(field, vocabulary):
    assert {getattr(f, field) for f in read()} == set(vocabulary)


@pytest.mark.parametrize("vocabulary", [names.DATASETS, names.NETWORKS, names.METHODS])
def test_a_spelling_stands_for_one_name(vocabulary):
    for short, title in vocabulary.items():
        assert names.known_name("thing", short, vocabulary) == short
        assert names.known_name("thing", title, vocabulary) == short
        assert names.known_name("thing", title.upper().replace("-", " "), vocabulary) == short


def test_methods_that_openmix_has_are_called_as_openmix_calls_them():
    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.replace("+", "plus"))

    ours = {plain(name): name for name in openmix.list_mixers()}
    same = {name: ours[plain(name)] for name in names.METHODS if plain(name) in ours}
    assert all(name == own for name, own in same.items())
    assert {"vanilla", "mixup", "cutmix", "manifoldmix", "resizemix", "resizemixplus", "alignmix"} <= set(same)


def test_values_are_in_range():
    for f in read():
        assert re.fullmatch(r"\d+(\.\d{1,2})?", f.printed), f
        assert 0 < f.value < 100, f
        assert all(0 < a <= 2 for a in f.alpha), f
        assert f.epochs is None or 100 <= f.epochs <= 2000, f
        if f.dataset == "cifar10":
            low, high = (70, 94) if f.recipe in OF_SELF_SUPERVISION else (94, 99)
            assert low < f.value < high, f
        if f.metric == "top1_error":
            assert f.value < 50, f


def test_methods_without_a_beta_have_no_alpha():
    assert not any(f.alpha for f in lookup(method="vanilla"))
    assert all(len(f.alpha) == 2 for f in lookup(method="mixup+cutmix"))


def test_extra_cost_is_resizemix_own_column():
    assert {f.source for f in read() if f.add_cost is not None} == {"resizemix"}
    assert not any(f.add_cost for f in lookup(method="resizemix"))
    assert all(f.add_cost for f in lookup(method="resizemixplus"))


def test_sources_are_named_with_an_address():
    for source in SOURCES.values():
        assert source.title
        assert re.search(r"https://\S+|arXiv \d{4}\.\d{5}", source.link), source


@pytest.mark.parametrize(
    ("where", "source", "said"),
    [
        (("cifar10", "wrn28-10", "resizemixplus"), "resizemix", "below ResizeMix's own 97.60"),
        (("cifar100", "ss26-2x96d", "resizemix"), "resizemix", "switched off"),
        (("cifar10", "r18", "smoothmix"), "openmixup", "labels inverted"),
        (("cifar10", "r18", "saliencymix"), "openmixup", "one image's saliency"),
        (("cifar10", "rx50", "gridmix"), "openmixup", "larger than the image"),
        (("cifar10", "rx50", "resizemix"), "openmixup", "one box a batch"),
        (("cifar10", "rx50", "automix"), "openmixup", "best of four heads"),
        (("cifar10", "r18", "samix"), "openmixup", "eta-balanced loss has no effect"),
        (("cifar10", "r18", "samix"), "openmixup", "no config"),
        (("cifar10", "r18", "fmix"), "openmixup", "pre-print"),
        (("cifar10", "r18", "alignmix"), "openmixup", "method's own code"),
        (("cifar100", "r18", "automix", 1200), "openmixup", "train 400 epochs"),
        (("cifar100", "rx50", "cutmix"), "openmixup", "weight decay 5e-4"),
        (("cifar100", "convnext-t", "puzzlemix"), "openmixup", "averages the images' own label weights"),
        (("imagenet", "deit-s", "transmix"), "openmixup", "averages the images' own label weights"),
        (("imagenet", "r18", "resizemix"), "openmixup", "its text 0.2"),
        (("cub200", "r18", "adautomix"), "openmixup-adautomix", "constants in 99.98 %"),
        (("imagenet", "r34", "adautomix"), "openmixup-adautomix", "ResNet-34's"),
        (("cub200", "rx50", "samix"), "openmixup-adautomix", "benchmark page has 86.83"),
        (("cub200", "rx50", "samix"), "openmixup", "has 86.33"),
        (("imagenet", "r101", "puzzlemix", 100), "openmixup", "imagenet/mixups/README.md has 79.43"),
        (("imagenet", "r101", "samix", 100), "openmixup", "has AutoMix's figure here, 79.87"),
        (("imagenet", "deit-t", "cutmix"), "openmixup", "has 73.82"),
        (("cifar100", "wrn28-10", "cutmix+"), "rmix", "has 83.97"),
        (("cifar100", "wrn28-10", "cutmix+"), "rmix-listing", "has 83.53"),
        (("imagenet", "r50", "rmix"), "rmix", "another algorithm"),
        (("cifar100", "wrn16-8", "comixup"), "comixup-paper", "recalled, not re-verified"),
        (("imagenet", "r200"), "cropmix", "cannot select"),
    ],
)
def test_known_defects_are_noted(where, source, said):
    found = [f for f in lookup(*where) if f.source == source]
    assert found
    assert all(any(said in note for note in f.notes) for f in found)


def test_disagreements_on_one_figure_name_each_other():
    def linear(source: str) -> Published:
        return next(f for f in lookup("imagenet", "r50", "scalemix") if (f.source, f.metric) == (source, "linear_top1"))

    cropmix, asym_siam = linear("cropmix"), linear("asym-siam")
    assert (cropmix.printed, asym_siam.printed) == ("67.2", "67.6")
    assert "67.6" in cropmix.notes[0] and "67.2" in asym_siam.notes[0]
    assert "lead" in next(f for f in lookup("imagenet", "r50", "cropmix") if f.metric == "linear_top1").notes[0]


def test_every_recalled_figure_says_so():
    recalled = [f for f in read() if f.source == "comixup-paper"]
    assert len(recalled) == 7 * 6
    assert all("recalled, not re-verified" in f.notes for f in recalled)
    assert all(f.source == "comixup-paper" for f in read() if any("recalled" in note for note in f.notes))


def test_figures_that_two_sources_share_agree():
    """Error and accuracy of the same run, printed by different people."""
    error = {(f.recipe, f.method): f.value for f in lookup("imagenet", "r50") if f.metric == "top1_error"}
    top1 = {(f.source, f.recipe, f.method): f.value for f in lookup("imagenet", "r50") if f.metric == "top1"}
    assert 100 - error["cutmix-imagenet", "puzzlemix"] == pytest.approx(top1["resizemix", "", "puzzlemix"])
    assert 100 - error["fast-imagenet", "puzzlemix"] == pytest.approx(top1["puzzlemix", "fast-imagenet", "puzzlemix"])
    both = [f for f in read() if f.source == "openmixup-adautomix" and f.method in ("automix", "samix")]
    bench = {(f.dataset, f.network, f.method): f.printed for f in read() if f.recipe == "finetune"}
    differing = {
        (f.dataset, f.network, f.method)
        for f in both
        if f.printed != bench.get((f.dataset, f.network, f.method), f.printed)
    }
    assert differing == {("cub200", "rx50", "samix")}


def test_files_are_read_whole_and_as_they_are():
    rows = []
    for file in sorted(
        (f for f in resources.files(published).iterdir() if f.name.endswith(".csv")), key=lambda f: f.name
    ):
        header, *content = csv.reader(file.read_text(encoding="utf-8").splitlines())
        assert tuple(header) == COLUMNS, file.name
        assert content, file.name
        rows += [tuple(row) for row in content]
    assert rows == [f.cells for f in read()]


class TestLookup:
    def test_names_may_be_titles(self):
        assert lookup("CIFAR-10", "ResNeXt-50 (32x4d)", "ManifoldMix", 400) == lookup(
            "cifar10", "rx50", "manifoldmix", 400
        )
        assert [f.value for f in lookup("CIFAR-10", "resnext-50", "ManifoldMix", 400)] == [97.39]

    def test_whatever_is_left_out_is_not_asked_for(self):
        assert lookup() == list(read())
        assert {f.dataset for f in lookup(network="rx101")} == {"imagenet", "inat2017", "inat2018"}
        assert {f.epochs for f in lookup("cifar10", epochs=800)} == {800}
        assert lookup("cifar10", "deit-s") == []

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"dataset": "cifar1O"}, "data set 'cifar1O'; did you mean 'cifar10'?"),
            ({"network": "wrn28-1"}, "network 'wrn28-1'; did you mean 'wrn28-10'?"),
            ({"method": "resizmix"}, "method 'resizmix'; did you mean 'resizemix'?"),
            ({"dataset": ""}, "data set ''; known: aircraft, cars, cifar10"),
        ],
    )
    def test_unknown_names(self, asked, message):
        with pytest.raises(UserError, match=re.escape(message)):
            lookup(**asked)

    def test_a_figure_knows_its_source(self):
        figure = lookup("cifar10", "wrn28-10", "resizemix")[0]
        assert "github.com/JayQine/ResizeMix" in figure.origin.link
        assert (figure.value, figure.printed) == (97.6, "97.60")
