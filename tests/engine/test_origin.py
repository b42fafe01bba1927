"""What a run says of the weights that it begins with, and that tables keep such runs apart."""

import json

import torch

from openmix.engine.origin import origin_of
from openmix.results.groups import group_runs
from openmix.results.runs import read_run


def test_seeds_of_one_study_are_one_origin_and_another_task_is_another(lab, tmp_path):
    path, short = lab.write(tmp_path), {"train_cfg__max_epochs": 1}
    for seed in (0, 1):
        lab.train(path, tmp_path / f"mixed{seed}", randomness__seed=seed, **short)
    lab.train(path, tmp_path / "plain", model__mix_mode="vanilla", **short)
    first, second, other = (
        origin_of(tmp_path / name / "checkpoints/last.pth") for name in ("mixed0", "mixed1", "plain")
    )
    assert first == second != other
    assert first.startswith("MixUpClassification ")

    for name, seed in (("mixed0", 0), ("mixed1", 1), ("plain", 0)):
        start = str(tmp_path / name / "checkpoints/last.pth")
        lab.train(path, tmp_path / f"on_{name}", load_from=start, randomness__seed=seed, **short)
    runs = [read_run(tmp_path / f"on_{name}") for name in ("mixed0", "mixed1", "plain")]
    groups, repeated = group_runs(runs, "top1")
    assert sorted(len(group.members) for group in groups) == [1, 2]
    assert not repeated
    assert {group.extras["pretrained"] for group in groups} == {first, other}


def test_another_programs_file_is_known_by_its_content(tmp_path):
    for name, value in (("a.pth", 1.0), ("b.pth", 2.0)):
        torch.save({"weight": torch.tensor(value)}, tmp_path / name)
    one, other = origin_of(tmp_path / "a.pth"), origin_of(tmp_path / "b.pth")
    assert one.startswith("a.pth ")
    assert one.split()[1] != other.split()[1]


def test_a_resumed_run_remembers_what_is_gone(lab, tmp_path):
    path = lab.write(tmp_path)
    lab.train(path, tmp_path / "first", train_cfg__max_epochs=1)
    start = tmp_path / "first/checkpoints/last.pth"
    origin = origin_of(start)
    lab.train(path, tmp_path / "second", load_from=str(start), stop_after=3)
    start.unlink()
    lab.train(path, tmp_path / "second", load_from=str(start), resume=True)
    assert json.loads((tmp_path / "second/run.json").read_text())["pretrained"] == origin
