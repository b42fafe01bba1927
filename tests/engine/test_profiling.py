"""Where a step's time goes: the clock of phases, the hook that profiles while a run trains, and what it leaves."""

import gzip
import json
import threading
from typing import Any

import pytest
import torch

from openmix.engine import marks, phases, profiling
from openmix.engine.phases import PHASES, PhaseClock
from openmix.engine.profile_table import ProfiledSteps, as_text, describe, kernel_seconds
from openmix.engine.profiling import ProfilerHook
from openmix.errors import UserError, WriteError
from openmix.mixers.mixer import Mixer

PLAN = {"wait": 1, "timed": 4, "warmup": 1, "active": 2}  # 8 steps of the 12
TRUNK = {
    "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
    "probe": {"type": "ClsHead", "num_classes": 10},
}
HEADS = {"head": {"type": "ClsMixupHead", "num_classes": 10}, "head_one": {"type": "ClsHead", "num_classes": 10}}
VIT = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
MODELS: dict[str, dict[str, Any]] = {
    "AutoMixClassification": {"backbone": TRUNK["backbone"], **HEADS},
    "MoCo": {**TRUNK, "projector": {"type": "ProjectionMLP", "channels": [4]}, "queue_size": 16},
    "MAE": {
        "backbone": {
            "type": "TimmBackbone",
            "name": "vit_tiny_patch16_224",
            "img_size": 8,
            "in_channels": 1,
            "model_args": VIT,
        },
        "probe": TRUNK["probe"],
        "decoder": {"type": "MAEDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
    },
}
VIEWS = {"pipeline": [{"type": "Views", "views": [[], [{"type": "RandomHorizontalFlip"}]]}]}
EVERY_STEP = {
    "waiting for data",
    "to the device, normalise",
    "forward",
    "loss",
    "rest of the task",
    "backward",
    "finite check, clipping",
    "optimizer",
    "after the step",
    "hooks",
    "averages, schedule, signals",
}


def hook(**changes):
    return [{"type": "ProfilerHook", **PLAN, **changes}]


def profile(work_dir, step):
    """Return a profile's table and the events of its trace."""
    folder = work_dir / "profile"
    trace = json.loads(gzip.decompress((folder / f"trace_step_{step}.json.gz").read_bytes()))
    return json.loads((folder / f"table_step_{step}.json").read_text()), trace["traceEvents"]


def files(work_dir):
    return sorted(path.name for path in (work_dir / "profile").iterdir())


@pytest.fixture(autouse=True)
def nothing_left():
    """Whatever a test does, what belongs to all runs is what it was."""
    owned = [(Mixer, "__call__"), (torch.Tensor, "backward"), (marks.FiniteCheck, "__call__"), (marks.Batch, "to")]
    owned += [(plan, "apply") for plan in marks._plans()]
    before = [vars(owner)[name] for owner, name in owned]
    yield
    assert [vars(owner)[name] for owner, name in owned] == before


class Time:
    """A clock that moves when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(phases.time, "perf_counter", lambda: self.now)

    def passes(self, seconds):
        self.now += seconds


class TestClock:
    def test_a_moment_belongs_to_the_innermost_phase(self, monkeypatch):
        time = Time(monkeypatch)
        clock = PhaseClock(torch.device("cpu"))

        def plan():
            time.passes(1)

        def mixer(apply):
            time.passes(2)
            apply()
            time.passes(4)

        def task():
            time.passes(8)
            clock.mark("mixing: draws, masks", mixer)(clock.mark("mixing: apply", plan))
            clock.mark("forward", lambda: time.passes(16))()

        step = clock.mark("rest of the task", task)
        step()
        clock.reset()
        time.passes(32)
        step()
        step()
        time.passes(64)
        assert clock.read() == {
            "mixing: draws, masks": (12, 2),
            "mixing: apply": (2, 2),
            "forward": (32, 2),
            "rest of the task": (16, 2),
            "the loop itself": (96, 0),
        }
        assert clock.total() == time.now - 31 == 158

    def test_a_phase_elsewhere_is_part_of_what_it_is_called_in(self, monkeypatch):
        """A network's pass that a method asks for is no 'forward', and one phase within itself is not counted twice."""
        time = Time(monkeypatch)
        clock = PhaseClock(torch.device("cpu"))
        forward = clock.mark("forward", lambda: time.passes(1))
        look = clock.mark("mixing: look at images", lambda: forward())
        clock.mark("rest of the task", lambda: (look(), clock.mark("rest of the task", forward)()))()
        forward()
        found = clock.read()
        assert found["mixing: look at images"] == (1, 1)
        assert found["forward"] == (1, 1)
        assert found["the loop itself"] == (1, 0)

    def test_what_other_threads_do_passes_beside_it(self, monkeypatch):
        time = Time(monkeypatch)
        clock = PhaseClock(torch.device("cpu"))
        thread = threading.Thread(target=clock.mark("forward", lambda: time.passes(1)))
        within = clock.mark("rest of the task", lambda: (thread.start(), thread.join()))
        within()
        assert clock.read() == {"rest of the task": (1, 1)}

    def test_errors_leave_a_phase(self):
        clock = PhaseClock(torch.device("cpu"))
        with pytest.raises(ZeroDivisionError):
            clock.mark("backward", lambda: 1 // 0)()
        clock.mark("optimizer", lambda: None)()
        assert clock.read()["optimizer"][1] == 1

    def test_what_comes_now_and_then_is_no_part_of_a_step(self, monkeypatch):
        time = Time(monkeypatch)
        clock = PhaseClock(torch.device("cpu"))
        clock.mark("checkpoint", lambda: time.passes(5))()
        time.passes(1)
        assert clock.total() == 1
        assert clock.read()["checkpoint"] == (5, 1)

    def test_a_gpu_is_waited_for_before_what_comes_now_and_then(self, monkeypatch):
        """Whatever it still has to do is the steps', and not the checkpoint's."""
        time = Time(monkeypatch)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: time.passes(3))
        clock = PhaseClock(torch.device("cuda"))
        clock.mark("checkpoint", lambda: time.passes(5))()
        assert clock.total() == 3
        assert clock.read() == {"waiting for the GPU": (6, 2), "checkpoint": (5, 1)}

    def test_a_loader_is_closed_with_its_epoch(self):
        class Loader:
            closed = 0

            def epoch(self, number, start_step=0):
                try:
                    yield from range(start_step, number)
                finally:
                    Loader.closed += 1

        loader, clock = Loader(), PhaseClock(torch.device("cpu"))
        with marks.watched_loader(loader, clock):
            assert list(loader.epoch(3, start_step=1)) == [1, 2]
            epoch = loader.epoch(3)
            assert next(epoch) == 0
            epoch.close()
        assert Loader.closed == 2
        assert clock.read()["waiting for data"][1] == 4
        assert "epoch" not in vars(loader)


def test_kernels_belong_to_the_phase_that_the_host_was_in():
    """A GPU computes later, and the backward pass is asked for by a thread of its own."""

    def event(category, name, start, duration, **arguments):
        return {"cat": category, "name": name, "ts": start, "dur": duration, "args": arguments}

    def launch(start, number, category="cuda_runtime"):
        return event(category, "cudaLaunchKernel", start, 1, correlation=number)

    def kernel(duration, number, category="kernel"):
        return event(category, "gemm", 1000 + number, duration, correlation=number)

    trace = [
        event("user_annotation", "rest of the task", 10, 50),
        event("user_annotation", "forward", 20, 10),
        event("user_annotation", "mixing: draws, masks", 30, 10),
        event("user_annotation", "backward", 60, 20),
        event("user_annotation", "ProfilerStep#1", 0, 100),
        event("gpu_user_annotation", "forward", 1000, 500),
        {"ph": "M", "name": "process_name", "args": {"name": "python"}},
        *(launch(start, start) for start in (5, 12, 25, 35, 45, 70, 79, 90)),
        launch(31, 31, "cuda_driver"),
        *(kernel(1 << i, number) for i, number in enumerate((5, 12, 25, 35, 45, 70, 79, 90))),
        kernel(256, 31, "gpu_memcpy"),
        kernel(512, 999),
    ]
    found = {phase: round(seconds * 1e6) for phase, seconds in kernel_seconds(trace).items()}
    assert found == {
        "the loop itself": 1 + 128,
        "rest of the task": 2 + 16,
        "forward": 4,
        "mixing: draws, masks": 8 + 256,
        "backward": 32 + 64,
    }


def test_a_table_of_a_gpu():
    """Of numbers that are played: kernels beside the host's time, and the GPU's memory."""
    seen = ProfiledSteps("a GPU", True, 100, [0.010, 0.014], {}, 2, (), {"process": 3e9, "gpu": 2e9})
    seen.phases = {"forward": (0.008, 6), "waiting for the GPU": (0.016, 1), "record": (0.5, 1)}
    seen.trace = [
        {"cat": "user_annotation", "name": "forward", "ts": 0, "dur": 9, "args": {}},
        {"cat": "cuda_runtime", "name": "launch", "ts": 5, "dur": 1, "args": {"correlation": 1}},
        {"cat": "kernel", "name": "gemm", "ts": 50, "dur": 6000, "args": {"correlation": 1}},
    ]
    table = describe(seen, [], 30)
    assert (table["step_ms"], table["step_ms_median"]) == pytest.approx((12, 12))
    assert table["images_per_s"] == pytest.approx(100 / 0.012)
    assert [(row["phase"], row["ms"], row["calls"], row["kernel_ms"]) for row in table["phases"]] == [
        ("forward", pytest.approx(4), 3, pytest.approx(3)),
        ("waiting for the GPU", pytest.approx(8), 0.5, 0),
    ]
    assert table["besides"] == [{"what": "record", "times": 1, "ms": pytest.approx(500)}]
    assert (table["traced_steps"], table["memory_mb"]) == ([29, 30], {"process": 3000, "gpu": 2000})
    text = as_text(table)
    assert "kernels, ms" in text and "2,000 MB of the GPU's memory" in text and "record, 1 x 500.000 ms" in text


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    """A profiled run, and the same run without."""
    folder = tmp_path_factory.mktemp("runs")
    other = [{"type": "EMAHook", "momentum": 0.3}]
    schedule = {"param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False}}
    lab.train(lab.write(folder, "plain", custom_hooks=other, **schedule), folder / "plain")
    lab.train(lab.write(folder, "profiled", custom_hooks=[*other, *hook()], **schedule), folder / "profiled")
    return folder


class TestRun:
    def test_the_run_is_the_same(self, lab, run):
        lab.assert_same_run(run / "plain", run / "profiled")

    def test_phases_add_up_to_a_step(self, run):
        table, _ = profile(run / "profiled", 8)
        assert (table["timed_steps"], table["traced_steps"], table["images"]) == (4, [7, 8], 8)
        rows = {row["phase"]: row for row in table["phases"]}
        assert list(rows) == [phase for phase in PHASES if phase in rows]
        assert rows.keys() == EVERY_STEP | {"mixing: draws, masks", "mixing: apply", "EMA", "the loop itself"}
        assert sum(row["ms"] for row in rows.values()) == pytest.approx(table["step_ms"])
        assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
        assert table["images_per_s"] == pytest.approx(8000 / table["step_ms"])
        wanted = {"backward": 1, "optimizer": 1, "forward": 3, "mixing: apply": 1, "EMA": 1, "the loop itself": 0}
        assert {phase: rows[phase]["calls"] for phase in wanted} == wanted

    def test_what_comes_now_and_then_is_apart(self, run):
        """Steps 2 to 5 have a record after the fourth; nothing is validated or saved before the sixth."""
        table, _ = profile(run / "profiled", 8)
        assert [(row["what"], row["times"]) for row in table["besides"]] == [("record", 1)]

    def test_operators(self, run):
        table, _ = profile(run / "profiled", 8)
        operators = {row["name"]: row for row in table["operators"]}
        assert operators["aten::convolution_backward"]["calls"] == 4
        assert not operators.keys() & PHASES.keys()
        times = [row["self_ms"] for row in table["operators"]]
        assert times == sorted(times, reverse=True) and len(times) == 30

    def test_the_trace_has_the_phases_of_the_steps_that_were_recorded(self, run):
        _, events = profile(run / "profiled", 8)
        names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
        assert sum(name.startswith("ProfilerStep#") for name in names) == 2
        assert {"forward", "backward", "mixing: apply", "EMA", "waiting for data", "hooks"} <= set(names)
        assert names.count("backward") == 2
        spans = {e["name"]: (e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") == "user_annotation"}
        convolutions = [e["ts"] for e in events if e["name"] == "aten::convolution_backward"]
        assert any(spans["backward"][0] <= moment <= spans["backward"][1] for moment in convolutions)

    def test_the_text_says_the_same(self, run):
        table, _ = profile(run / "profiled", 8)
        text = (run / "profiled" / "profile" / "table_step_8.txt").read_text()
        assert f"│ {table['step_ms']:.3f} │" in text
        assert all(row["phase"] in text for row in table["phases"])
        assert "aten::convolution_backward" in text
        log = (run / "profiled" / "train.log").read_text()
        assert "profile/table_step_8.txt" in log


def test_validation_and_checkpoints_within_the_steps_are_apart(lab, tmp_path):
    saving = {"checkpoint": {"interval": 4, "by_epoch": False}}
    path = lab.write(tmp_path, custom_hooks=hook(wait=3, timed=4), default_hooks=saving)
    lab.train(path, tmp_path / "run")
    table, _ = profile(tmp_path / "run", 10)
    # steps 4 to 7; the sixth ends the epoch, and its validation is the best so far
    assert {row["what"]: row["times"] for row in table["besides"]} == {"record": 2, "validation": 1, "checkpoint": 2}
    assert sum(row["ms"] for row in table["phases"]) == pytest.approx(table["step_ms"])


@pytest.mark.parametrize("kind", MODELS)
def test_every_task(kind, lab, tmp_path):
    loader = VIEWS if kind == "MoCo" else {}
    path = lab.write(tmp_path, model={"type": kind, **MODELS[kind]}, train_dataloader=loader, custom_hooks=hook())
    lab.train(path, tmp_path / "run")
    table, _ = profile(tmp_path / "run", 8)
    mixing, others = {"mixing: draws, masks"}, {"forward: other networks"}
    own = {"AutoMixClassification": {*mixing, *others, "mixing: apply"}, "MoCo": others, "MAE": mixing}[kind]
    assert {row["phase"] for row in table["phases"]} == EVERY_STEP | own | {"the loop itself"}
    rows = {row["phase"]: row["calls"] for row in table["phases"]}
    # the clean and the mixed images by three parts; backbone, neck, projector, probe; encoder, decoder, neck, probe
    assert rows["forward"] == {"AutoMixClassification": 6, "MoCo": 4, "MAE": 4}[kind]


def test_a_method_that_looks_at_the_network(lab, tmp_path):
    """Its pass over the clean images is no part of 'forward'."""
    path = lab.write(tmp_path, model={"mix_mode": "puzzlemix"}, custom_hooks=hook())
    lab.train(path, tmp_path / "run")
    rows = {row["phase"]: row["calls"] for row in profile(tmp_path / "run", 8)[0]["phases"]}
    assert rows["mixing: look at images"] == 1
    assert rows["forward"] == 3


@pytest.mark.slow
def test_a_compiled_network_is_one_row(lab, tmp_path, monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend="eager"))
    torch._dynamo.reset()
    model = {"mix_mode": "manifoldmix"}  # whose plans are applied in what is compiled
    path = lab.write(tmp_path, model=model, train_cfg={"compile": True}, custom_hooks=hook(wait=3))
    lab.train(path, tmp_path / "run")
    table, events = profile(tmp_path / "run", 10)
    rows = {row["phase"]: row["calls"] for row in table["phases"]}
    assert rows["forward"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]
    assert any("Compiled" in event["name"] for event in events)


class TestSchedule:
    def test_twice(self, lab, tmp_path):
        plan = {"wait": 1, "timed": 1, "warmup": 1, "active": 1, "repeat": 2}
        lab.train(lab.write(tmp_path, custom_hooks=hook(**plan)), tmp_path / "run")
        assert [name for name in files(tmp_path / "run") if name.endswith("gz")] == [
            "trace_step_4.json.gz",
            "trace_step_8.json.gz",
        ]
        assert all(profile(tmp_path / "run", step)[0]["traced_steps"] == [step, step] for step in (4, 8))

    def test_a_run_that_ends_within_the_recorded_steps(self, lab, tmp_path):
        path = lab.write(tmp_path, custom_hooks=hook(active=9))
        lab.train(path, tmp_path / "run")
        table, events = profile(tmp_path / "run", 12)
        assert table["traced_steps"] == [7, 12]
        assert sum(str(event["name"]).startswith("ProfilerStep#") for event in events) == 6

    @pytest.mark.parametrize("changes", [{"wait": 12}, {"timed": 11}, {"timed": 10, "active": 1}])
    def test_a_run_that_is_too_short(self, lab, tmp_path, changes):
        lab.train(lab.write(tmp_path, custom_hooks=hook(**changes)), tmp_path / "run")
        assert not (tmp_path / "run" / "profile").exists()
        plan = PLAN | changes
        needs = plan["wait"] + plan["timed"] + plan["warmup"] + 1
        log = (tmp_path / "run" / "train.log").read_text()
        assert (
            f"the run ended 12 steps after it began to count, and wait, timed, warmup and a step to record take {needs}"
            in log
        )

    def test_a_run_that_has_just_enough_steps(self, lab, tmp_path):
        lab.train(lab.write(tmp_path, custom_hooks=hook(timed=9, active=1)), tmp_path / "run")
        assert profile(tmp_path / "run", 12)[0]["traced_steps"] == [12, 12]

    @pytest.mark.parametrize("stop", [1, 3, 6])
    def test_stopped_and_resumed(self, lab, tmp_path, stop):
        """In any part of it: nothing is left in the process, and the resumed run counts anew."""
        path = lab.write(tmp_path, custom_hooks=hook(timed=2, warmup=2))
        plain = lab.write(tmp_path, "plain")
        lab.train(plain, tmp_path / "whole")
        assert lab.train(path, tmp_path / "run", stop_after=stop) is None
        assert Mixer.__call__.__module__ == "openmix.mixers.mixer" and not hasattr(Mixer.__call__, "__wrapped__")
        lab.train(path, tmp_path / "run", resume=True)
        lab.assert_same_run(tmp_path / "whole", tmp_path / "run")
        # 7 steps from where it went on, or as many as there were
        last = min(stop + 7, 12)
        traced = profile(tmp_path / "run", last)[0]["traced_steps"] if last > stop + 5 else None
        assert traced in (None, [stop + 6, last])

    def test_what_cannot_be_written(self, lab, tmp_path, monkeypatch):
        """No half of a file has its name."""

        def half(plain, path):
            path.write_bytes(plain.read_bytes()[:100])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(profiling, "_compress", half)
        with pytest.raises(WriteError, match=r"cannot write .*profile: No space left on device"):
            lab.train(lab.write(tmp_path, custom_hooks=hook()), tmp_path / "run")
        assert files(tmp_path / "run") == []


class TestArguments:
    @pytest.mark.parametrize("name", ["wait", "timed", "warmup", "active", "repeat"])
    @pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
    def test_numbers(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value!r}"):
            ProfilerHook(**{name: value})

    def test_two_of_them(self, lab, tmp_path):
        """Found with the config, before a run has begun."""
        with pytest.raises(UserError, match=r"\.py: custom_hooks: one ProfilerHook is enough"):
            lab.load(lab.write(tmp_path, custom_hooks=[*hook(), *hook(wait=2)]), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_in_a_config(self, lab, tmp_path):
        with pytest.raises(UserError, match="ProfilerHook: timed must be a whole number"):
            lab.load(lab.write(tmp_path, custom_hooks=hook(timed=0)), tmp_path / "run")


@pytest.mark.parametrize("all_ranks", [False, True])
def test_two_processes(lab, ranks, tmp_path, all_ranks):
    """Of 4 images a step each, 6 steps in all."""
    plan = {"timed": 1, "active": 1, "all_ranks": all_ranks}
    path = lab.write(tmp_path, custom_hooks=hook(**plan))
    plain = lab.write(tmp_path, "plain")
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "run")})
    ranks(2, "train_config", config=plain, overrides={"work_dir": str(tmp_path / "plain")})
    lab.assert_same_run(tmp_path / "run", tmp_path / "plain")
    ends = [f"_rank_{rank}" for rank in range(2)] if all_ranks else [""]
    names = [f"{kind}_step_4{end}.{suffix}" for end in ends for kind, suffix in KINDS]
    assert files(tmp_path / "run") == sorted(names)
    table = json.loads((tmp_path / "run" / "profile" / f"table_step_4{ends[0]}.json").read_text())
    assert table["images"] == 16
    assert {row["phase"] for row in table["phases"]} >= EVERY_STEP | {"DDP: buffers, other ranks"}


KINDS = [("table", "json"), ("table", "txt"), ("trace", "json.gz")]
