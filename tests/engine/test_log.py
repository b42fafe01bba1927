"""Averages over the log interval, and what is shown to people."""

import io
import socket

import pytest
import torch
from rich.console import Console

from openmix.engine.distributed import World
from openmix.engine.log import Averages, Reporter, open_logger, spell_metrics
from openmix.errors import UserError


class TestAverages:
    def test_means_since_the_last_asking(self):
        averages = Averages(World())
        for values in ([1.0, 10.0], [2.0, 20.0], [6.0, 0.0]):
            averages.add(list(torch.tensor(values)))
        assert averages.pop() == [3.0, 10.0]
        averages.add(list(torch.tensor([5.0, 5.0])))
        assert averages.pop() == [5.0, 5.0]

    def test_reports_are_not_kept_by_reference(self):
        averages, report = Averages(World()), [torch.tensor(1.0)]
        averages.add(report)
        report[0].fill_(7)
        averages.add(report)
        assert averages.pop() == [4.0]
        assert report[0] == 7

    @pytest.mark.parametrize("cut", range(5))
    def test_an_interval_cut_in_two_is_averaged_as_a_whole(self, cut):
        values = torch.rand(4, 3)
        whole, first, second = (Averages(World()) for _ in range(3))
        for value in values:
            whole.add(list(value))
        for value in values[:cut]:
            first.add(list(value))
        second.load_state_dict(first.state_dict())
        for value in values[cut:]:
            second.add(list(value))
        assert second.pop() == whole.pop()

    def test_state_of_two_processes_goes_to_one(self):
        """One process then has the mean of what two would have had."""
        averages = Averages(World())
        averages.load_state_dict({"count": 2, "totals": torch.tensor([[2.0], [6.0]])})
        assert averages.pop() == [2.0]


RECORD = {"split": "train", "epoch": 1, "step": 30, "lr": 0.1, "loss": 2.0, "images_per_s": 1234.5, "time_s": 0.1}


class TestReporter:
    def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(self, tmp_path):
        text = io.StringIO()
        console = Console(file=text, force_terminal=True, width=120)
        logger, _ = open_logger(None, World(), quiet=True)
        reporter = Reporter(tmp_path, [], World(), logger, console)
        reporter.start(20, 100)
        for _ in range(10):
            reporter.advance()
        reporter.train(RECORD, 4, 100, aloud=True)
        reporter.stop()
        assert "epoch 1/4" in text.getvalue()
        assert "30/100" in text.getvalue()
        assert "1,234 images/s" in text.getvalue()

    def test_elsewhere_there_is_none(self, tmp_path):
        text = io.StringIO()
        logger, _ = open_logger(None, World(), quiet=True)
        reporter = Reporter(tmp_path, [], World(), logger, Console(file=text))
        reporter.start(0, 100)
        reporter.advance()
        reporter.train(RECORD, 4, 100, aloud=True)
        reporter.stop()
        assert text.getvalue().strip() == ""

    def test_other_ranks_write_nothing(self, tmp_path, capsys):
        world = World(1, 2)
        logger, console = open_logger(tmp_path, world)
        reporter = Reporter(tmp_path, [{"type": "TensorboardVisBackend"}], world, logger, console)
        reporter.start(0, 10)
        logger.info("hello")
        reporter.train(RECORD, 1, 10, aloud=True)
        reporter.val({**RECORD, "split": "val"}, True)
        reporter.stop()
        assert list(tmp_path.iterdir()) == []
        assert capsys.readouterr() == ("", "")

    def test_what_other_ranks_have_to_say_has_their_names(self, tmp_path, capsys):
        """Errors on the terminal, warnings as well in a file of their own, which is not there before."""
        logger, _ = open_logger(tmp_path, World(1, 2))
        logger.warning("odd")
        assert capsys.readouterr() == ("", "")
        logger.error("50%% of it is trouble: %s", "why")
        host = socket.gethostname()
        assert capsys.readouterr() == ("", f"process 1 of 2 on {host}: 50% of it is trouble: why\n")
        assert [path.name for path in tmp_path.iterdir()] == ["train_rank1.log"]
        lines = (tmp_path / "train_rank1.log").read_text().splitlines()
        assert [line.split(" ", 2)[2] for line in lines] == [
            f"{host} WARNING odd",
            f"{host} ERROR 50% of it is trouble: why",
        ]
        logger.handlers[1].close()

    def test_a_backend_that_is_not_installed_is_named_at_once(self, tmp_path, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "wandb", None)
        logger, console = open_logger(None, World(), quiet=True)
        with pytest.raises(UserError, match=r"vis_backends: WandbVisBackend needs the package wandb"):
            Reporter(tmp_path, [{"type": "WandbVisBackend"}], World(), logger, console)

    @pytest.mark.parametrize("aloud", [True, False])
    def test_every_record_is_written_but_not_every_one_printed(self, tmp_path, capsys, aloud):
        logger, console = open_logger(None, World())
        reporter = Reporter(tmp_path, [], World(), logger, console)
        reporter.start(0, 100)
        reporter.train(RECORD, 4, 100, aloud)
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
        assert ("epoch 1/4, step 30/100: lr 0.1, loss 2, 1,234 images/s, ETA " in capsys.readouterr().out) is aloud


def test_metrics_are_spelt_with_their_units():
    metrics = {"top1": 93.456, "top5": 99.9, "nll": 0.23456, "ece": 0.01234, "n": 10000}
    assert spell_metrics(metrics) == "top1 93.46 %, top5 99.90 %, nll 0.2346, ece 0.0123 over 10,000 images"
    first = "top1 93.46 %, top1_k 94.00 %, top5 99.90 %, "
    assert spell_metrics({**metrics, "top1_k": 94.0}).startswith(first)


def test_a_tracker_that_is_not_installed_costs_the_earlier_run_nothing(lab, tmp_path, monkeypatch):
    path, run = lab.write(tmp_path), tmp_path / "run"
    lab.train(path, run)
    monkeypatch.setattr("openmix.engine.log.find_spec", lambda name: None)
    with pytest.raises(UserError, match="WandbVisBackend needs the package wandb"):
        lab.train(path, run, vis_backends=[{"type": "WandbVisBackend"}])
    assert not (run / "earlier").exists()
