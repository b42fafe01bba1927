"""Manifoldmix in the task, against the network taken apart: alone, on two processes, and compiled."""

import copy
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

import openmix
from openmix.ops.plans import BlendPlan
from openmix.tasks import StepContext

SCRIPT = Path(__file__).with_name("ranks_manifoldmix.py")


def feature_task(make_task, *layers: int, **arguments):
    return make_task(mix_mode="manifoldmix", mix_args={"manifoldmix": {"layers": layers}}, **arguments)


def blend_by_hand(x, lam, partner):
    return torch.stack([lam * x[i] + (1 - lam) * x[j] for i, j in enumerate(partner)])


def loss_by_hand(task, batch, step: StepContext, layers):
    """Run stage by stage, mix where the method says, and weigh two plain cross entropies."""
    draw = openmix.build_mixer("manifoldmix", layers=layers).function
    mix = draw(batch.labels, generator=step.generator("mix"), stages=("layer1", "layer2"))
    lam, partner = mix.plan.lam.flatten()[0].item(), mix.plan.partner.tolist()
    x = batch.images
    for stage in (None, "layer1", "layer2"):
        x = x if stage is None else task.backbone.get_submodule(stage)(x)
        if stage == mix.stage:
            x = blend_by_hand(x, lam, partner)
    logits = x.mean((2, 3)) @ task.head.fc.weight.T + task.head.fc.bias
    own = nn.functional.cross_entropy(logits, batch.labels)
    other = nn.functional.cross_entropy(logits, batch.labels[partner])
    return lam * own + (1 - lam) * other, mix.stage


def without_hooks(task):
    """The same weights in a network whose stages have no hooks."""
    bare = copy.deepcopy(task)
    for module in bare.modules():
        module._forward_hooks.clear()
    return bare


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_loss_and_gradients_of_each_layer(layer, make_task, make_batch, at):
    task, batch = feature_task(make_task, layer), make_batch()
    bare = without_hooks(task)
    for step in range(3):
        task.zero_grad()
        bare.zero_grad()
        loss = task(batch, at(step))["loss"]
        expected, stage = loss_by_hand(bare, batch, at(step), [layer])
        assert stage == (None, "layer1", "layer2")[layer]
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        for p, q in zip(task.parameters(), bare.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_the_layers_differ(make_task, make_batch, at):
    """Else the test above could not tell them apart."""
    losses = [feature_task(make_task, layer)(make_batch(), at())["loss"].item() for layer in (0, 1, 2)]
    assert len({round(loss, 4) for loss in losses}) == 3


def test_all_layers_in_turn(make_task, make_batch, at):
    task, batch = make_task(mix_mode="manifoldmix", mix_repeat=1), make_batch()
    bare, stages = without_hooks(task), set()
    for step in range(12):
        expected, stage = loss_by_hand(bare, batch, at(step), (0, 1, 2))
        torch.testing.assert_close(task(batch, at(step))["loss"], expected)
        stages.add(stage)
    assert stages == {None, "layer1", "layer2"}


def test_the_slots_are_empty_after_a_step(make_task, make_batch, at):
    task, batch = feature_task(make_task, 1, 2), make_batch()
    clean = without_hooks(task).predict(batch.images)
    for step in range(4):
        task(batch, at(step))
        torch.testing.assert_close(task.predict(batch.images), clean)


def test_the_slots_are_empty_after_an_exception(make_task, make_batch, at):
    """A step that runs out of memory, say, must not mix what is evaluated next."""
    task, batch = feature_task(make_task, 1), make_batch()
    clean = without_hooks(task).predict(batch.images)

    def fail(*_):
        raise MemoryError

    handle = task.backbone.layer2.register_forward_hook(fail)
    with pytest.raises(MemoryError):
        task(batch, at())
    handle.remove()
    torch.testing.assert_close(task.predict(batch.images), clean)


def test_state_dict_keys_stay(make_task):
    plain, mixing = make_task(mix_mode="mixup"), make_task(mix_mode=["mixup", "manifoldmix"])
    assert list(mixing.state_dict()) == list(plain.state_dict())
    mixing.load_state_dict(plain.state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
def test_a_copy_mixes_in_itself(duplicate, make_task, make_batch, at):
    """A copy whose hooks read the original's slots would train on unmixed features with mixed labels."""
    task, batch = feature_task(make_task, 1), make_batch()
    twin = duplicate(task)
    expected = task(batch, at())["loss"]
    torch.testing.assert_close(twin(batch, at())["loss"], expected)
    plan = BlendPlan(torch.tensor([1, 0, 2, 3, 4, 5]), torch.zeros(6, 1, 1, 1))
    clean = task.predict(batch.images)
    with twin.mix_points.armed("layer1", plan):
        torch.testing.assert_close(task.predict(batch.images), clean)
        assert not torch.allclose(twin.predict(batch.images), clean)


def test_vanilla_and_evaluation_meet_empty_slots(make_task, make_batch, at, spy):
    task, batch = make_task(mix_mode=["manifoldmix", "vanilla"]), make_batch()
    calls = spy(task)
    clean = nn.functional.cross_entropy(without_hooks(task).predict(batch.images), batch.labels)
    for step in range(8):
        loss = task(batch, at(step))["loss"]
        if calls[-1].name == "vanilla":
            torch.testing.assert_close(loss, clean)
    assert {call.name for call in calls} == {"manifoldmix", "vanilla"}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", ["in place", "wrapped"])
def test_compiled_networks_mix_too(how, backend, make_task, make_batch, at):
    """Torch compiles the hooks that it finds; slots armed after that must still count, in every layer and mode."""
    torch._dynamo.reset()
    arguments = {"mix_mode": ["manifoldmix", "vanilla", "cutmix"], "mix_prob": [0.6, 0.2, 0.2]}
    eager, task, batch = make_task(**arguments), make_task(**arguments), make_batch()
    if how == "in place":
        task.backbone.compile(backend=backend)
    else:
        task.backbone = torch.compile(task.backbone, backend=backend)
    task.predict(batch.images)  # compiled now, while no slot is armed
    for step in range(12):
        expected, loss = eager(batch, at(step))["loss"], task(batch, at(step))["loss"]
        torch.testing.assert_close(loss, expected)
    expected.backward()
    loss.backward()
    for p, q in zip(task.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_a_new_plan_does_not_compile_anew(make_task, make_batch, at):
    """One graph for empty slots and one for each layer: plans that differ in their numbers share it."""
    torch._dynamo.reset()
    counter = CompileCounter()
    task, batch = make_task(mix_mode="manifoldmix"), make_batch()
    task.backbone.compile(backend=counter)
    for step in range(30):
        task(batch, at(step))
    assert counter.frame_count == 3


def test_two_processes(tmp_path, make_task):
    """Each mixes its own batch; their gradients are the mean of both, as computed here without hooks or DDP."""
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    batch_of = runpy.run_path(str(SCRIPT))["batch_of"]
    task = make_task()
    task.load_state_dict(one["state"])
    stages = set()
    for step, (first, second) in enumerate(zip(one["steps"], two["steps"], strict=True)):
        task.zero_grad()
        for rank, report in enumerate((first, second)):
            place = StepContext(0, 0, step, rank, 0.0)
            loss, stage = loss_by_hand(task, batch_of(rank, step), place, (0, 1, 2))
            torch.testing.assert_close(report["loss"], loss.detach())
            (loss / 2).backward()
            stages.add(stage)
        for name, p in task.named_parameters():
            assert torch.equal(first["grads"][name], second["grads"][name])
            torch.testing.assert_close(first["grads"][name], p.grad, rtol=1e-4, atol=1e-6)
    assert stages == {None, "layer1", "layer2"}


def test_two_processes_equal_one_that_accumulates(lab, ranks, tmp_path):
    """The same through the training loop: two ranks against two micro-batches of each step."""
    model = {"mix_mode": "manifoldmix", "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}}
    path = lab.write(tmp_path, model=model, train_cfg={"max_epochs": 1}, train_dataloader={"batch_size": 4})
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    lab.train(path, tmp_path / "unmixed", optim_wrapper__accumulative_counts=2, model__mix_mode="vanilla")

    def weights(run: str) -> dict[str, torch.Tensor]:  # BatchNorm's statistics are each process' own
        state = lab.state(tmp_path / run)["model"]
        return {k: v for k, v in state.items() if "running" not in k and "tracked" not in k}

    assert lab.differences(weights("two"), weights("one")) == []
    assert lab.differences(weights("two"), weights("unmixed")) != []
