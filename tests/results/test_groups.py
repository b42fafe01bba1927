"""Runs in groups: what is a seed of the same and what is not; names; differences against scipy."""

import numpy as np
import pytest
from scipy import stats

from openmix.errors import UserError
from openmix.results.reading import read_table
from openmix.results.statistics import welch_interval


def rows(table):
    return {row.group.name: row for row in table.rows}


def three_seeds(run_of, folder, method, values, **more):
    for seed, value in enumerate(values):
        run_of(folder / f"{method}_{seed}", [value] * 10, seed=seed, method=method, **more)


class TestGroups:
    def test_seeds_are_one_group_wherever_they_lie(self, tmp_path, run_of):
        three_seeds(run_of, tmp_path, "mixup", [90.0, 92.0, 91.5])
        (row,) = read_table([tmp_path]).rows
        assert [member.run.seed for member in row.group.members] == [0, 1, 2]
        figure = row.figures["last"]
        assert (figure.mean, figure.n) == (pytest.approx(91.1666667), 3)
        assert figure.sd == pytest.approx(np.std([90.0, 92.0, 91.5], ddof=1))

    def test_a_single_run_has_no_spread(self, tmp_path, run_of):
        run_of(tmp_path / "a")
        (row,) = read_table([tmp_path]).rows
        assert row.figures["last"].sd is None and row.baseline is None

    def test_whatever_else_differs_is_another_group_and_is_named(self, tmp_path, run_of):
        run_of(tmp_path / "a", mix_args={"mixup": {"per_sample": True}})
        run_of(tmp_path / "b")
        run_of(tmp_path / "c", seed=1)
        names = [row.group.name for row in read_table([tmp_path]).rows]
        assert sorted(names) == [
            "mixup a1, model.mix_args.mixup.per_sample=-",
            "mixup a1, model.mix_args.mixup.per_sample=True",
        ]

    def test_lengths_and_alphas_are_in_names_where_they_differ(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0] * 10)
        run_of(tmp_path / "b", [1.0] * 12)
        run_of(tmp_path / "c", [1.0] * 12, alpha=0.2)
        run_of(tmp_path / "d", [1.0] * 12, method=["mixup", "cutmix"], alpha=[0.1, 1], mix_prob=[0.4, 0.6])
        names = {row.group.name for row in read_table([tmp_path]).rows}
        assert names == {"mixup a1, 10 epochs", "mixup a1, 12 epochs", "mixup a0.2", "mixup+cutmix a0.1-1 p0.4-0.6"}

    def test_a_seed_that_comes_twice_is_told_and_the_later_run_used(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0], record={"start_time": "2026-01-03T00:00:00+0000"})
        run_of(tmp_path / "b", [2.0], record={"start_time": "2026-01-02T00:00:00+0000"})
        table = read_table([tmp_path])
        assert table.rows[0].figures["last"].mean == 1.0 and table.rows[0].figures["last"].n == 1
        (out,) = table.left_out
        assert (out.folder, out.state, out.name) == (tmp_path / "b", "repeated", "mixup a1")
        assert str(tmp_path / "a") in out.reason

    def test_processes_that_differ_are_noted(self, tmp_path, run_of):
        run_of(tmp_path / "a")
        run_of(tmp_path / "b", seed=1, record={"world_size": 2})
        (row,) = read_table([tmp_path]).rows
        assert row.group.notes == ("its runs differ in world_size: 1 (seed 0), 2 (seed 1)",)

    def test_what_is_unfinished_is_in_no_mean_and_listed(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0, 2.0])
        run_of(tmp_path / "b", [9.0, 9.0], seed=1, record={"status": "running"})
        run_of(tmp_path / "c", [9.0], seed=2, epochs=2)
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "run.json").write_text("[]")
        table = read_table([tmp_path])
        assert table.rows[0].figures["last"].n == 1
        assert [(out.folder.name, out.state) for out in table.left_out] == [
            ("b", "running"),
            ("c", "unfinished"),
            ("d", "damaged"),
        ]

    def test_diverged_runs_are_counted(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0] * 10)
        run_of(tmp_path / "b", [1.0] * 9 + [None], seed=1)
        (row,) = read_table([tmp_path]).rows
        assert row.diverged == 1 and row.figures["last"].n == 1
        assert row.figures["last"].missing == ("seed 1: top1 of its last validation is no number",)

    def test_no_runs(self, tmp_path):
        with pytest.raises(UserError, match="no runs in"):
            read_table([tmp_path])

    def test_entries_of_a_study_that_have_not_begun(self, tmp_path, run_of):
        from openmix.results.grids.manifest import MANIFEST, Entry, Manifest

        run_of(tmp_path / "runs" / "a")
        entries = tuple(Entry(n, f"configs/{n}.py", f"runs/{n}", {}, "0" * 16) for n in "ab")
        (tmp_path / MANIFEST).write_text(Manifest(tmp_path, "base.py", entries).text())
        assert [(out.name, out.state) for out in read_table([tmp_path]).left_out] == [("b", "waiting")]


class TestDifferences:
    OURS, THEIRS = [93.0, 94.5, 93.5], [90.0, 92.0, 91.0]

    def test_the_same_seeds_are_paired(self, tmp_path, run_of):
        three_seeds(run_of, tmp_path, "mixup", self.OURS)
        three_seeds(run_of, tmp_path, "vanilla", self.THEIRS)
        table = rows(read_table([tmp_path]))
        difference = table["mixup a1"].figures["last"].difference
        interval = stats.ttest_rel(self.OURS, self.THEIRS).confidence_interval(0.95)
        assert difference.paired and difference.n == 3
        assert difference.mean - difference.half_width == pytest.approx(interval.low)
        assert difference.mean + difference.half_width == pytest.approx(interval.high)
        assert table["vanilla"].figures["last"].difference is None and table["vanilla"].baseline == "vanilla"

    def test_other_seeds_are_not(self, tmp_path, run_of):
        three_seeds(run_of, tmp_path, "mixup", self.OURS)
        three_seeds(run_of, tmp_path, "vanilla", self.THEIRS[:2])
        difference = rows(read_table([tmp_path]))["mixup a1"].figures["last"].difference
        interval = stats.ttest_ind(self.OURS, self.THEIRS[:2], equal_var=False).confidence_interval(0.95)
        assert not difference.paired
        assert difference.mean - difference.half_width == pytest.approx(interval.low)
        assert difference.mean + difference.half_width == pytest.approx(interval.high)

    def test_welch_of_constants_and_of_single_values(self):
        assert welch_interval([1.0, 1.0], [2.0, 2.0]).half_width == 0
        assert np.isnan(welch_interval([1.0], [2.0, 3.0]).half_width)

    def test_one_seed_has_no_interval(self, tmp_path, run_of):
        three_seeds(run_of, tmp_path, "mixup", self.OURS[:1])
        three_seeds(run_of, tmp_path, "vanilla", self.THEIRS[:1])
        difference = rows(read_table([tmp_path]))["mixup a1"].figures["last"].difference
        assert (difference.mean, difference.half_width) == (3.0, None)

    def test_only_the_same_network_and_length_is_compared(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0] * 10)
        run_of(tmp_path / "b", [1.0] * 12, method="vanilla")
        run_of(tmp_path / "c", [1.0] * 10, method="vanilla", backbone={"type": "ResNet_CIFAR", "depth": 34})
        table = read_table([tmp_path])
        assert rows(table)["mixup a1"].baseline is None and table.notes[0].startswith("1 of 3 groups: no vanilla")

    def test_of_several_baselines_the_likest_is_taken(self, tmp_path, run_of):
        for wait in (0.0, 1.0):
            run_of(tmp_path / f"v{wait}", [80.0 + wait], method="vanilla", clean_weight=wait)
            run_of(tmp_path / f"m{wait}", [90.0], clean_weight=wait)
        table = rows(read_table([tmp_path]))
        assert table["mixup a1, model.clean_weight=1.0"].baseline == "vanilla, model.clean_weight=1.0"
        assert table["mixup a1, model.clean_weight=0.0"].figures["last"].difference.mean == 10.0

    def test_another_baseline_by_method_or_name(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0])
        run_of(tmp_path / "b", [3.0], method="cutmix")
        for name in ("mixup", "mixup a1"):
            assert rows(read_table([tmp_path], baseline=name))["cutmix a1"].figures["last"].difference.mean == 2.0
        with pytest.raises(UserError, match="'cutmux'; did you mean 'cutmix'"):
            read_table([tmp_path], baseline="cutmux")

    def test_an_unknown_metric(self, tmp_path, run_of):
        run_of(tmp_path / "a", [1.0])
        with pytest.raises(UserError, match="'top11'; did you mean 'top1'"):
            read_table([tmp_path], metric="top11")
