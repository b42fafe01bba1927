"""RL-Mix: what its agents see, choose, are rewarded with and learn, against loops; in a run that is cut and resumed."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import openmix
from openmix.mixers.rmix import draw_rmix, plan_rmix, tau_grid
from openmix.models import ClsMixupHead, ConvNet
from openmix.ops.random import generator_for
from openmix.tasks.rlmix import RLMixClassification, agreement, credit_of
from openmix.tasks.rlmix_agent import AuthorsAgent, PerImageAgent, Seen
from openmix.tasks.rlmix_learner import PPOSettings, TauLearner

AGENTS = ("per_image", "authors")
SCRIPT = Path(__file__).with_name("ranks_rlmix.py")


def make_task(agent="per_image", batch_size=6, seed=0, **arguments):
    torch.manual_seed(seed)
    head = ClsMixupHead(num_classes=5, in_channels=8)
    nn.init.normal_(head.fc.weight)
    return RLMixClassification(ConvNet((4, 8)), head, batch_size, agent=agent, **arguments)


def pooled_gradient(loss, x, grid=8):
    (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
    return F.adaptive_avg_pool2d(gradient.square().mean(1).sqrt(), grid)


# One step


@pytest.mark.parametrize("agent", AGENTS)
def test_a_step_is_rmix_with_the_agents_taus_and_a_cosine_as_reward(make_batch, at, agent):
    task, batch, context = make_task(agent), make_batch(6), at(step=3)
    report = task(batch, context)
    report["loss"].backward()
    (row,) = task._rows
    task.after_step(context)

    x = batch.images.clone().requires_grad_()
    logits = task.predict(x)
    clean = pooled_gradient(F.cross_entropy(logits, batch.labels), x)
    saliency = torch.autograd.grad(F.cross_entropy(logits, batch.labels), x)[0].square().mean(1).sqrt()
    actions = row[:, -6].long()
    assert report["tau"].item() == pytest.approx(tau_grid()[actions].mean().item())
    size = tuple(x.shape[2:])
    grid, lam, partner = draw_rmix(6, size, generator=context.generator("mix"))
    plan = plan_rmix(saliency, tau_grid()[actions], lam, partner, grid, size)
    mixed = plan.apply(batch.images).requires_grad_()
    loss = openmix.mix_cross_entropy(task.predict(mixed), openmix.MixTarget(batch.labels[plan.sources], plan.weights))
    torch.testing.assert_close(report["loss"], loss)

    cosine = F.cosine_similarity(clean.flatten(), pooled_gradient(loss, mixed).flatten(), dim=0)
    assert 0 < cosine < 1
    assert row[:, -3].mean().item() == pytest.approx(cosine.item(), rel=1e-4)
    assert task.learner.reward.item() == pytest.approx(cosine.item(), rel=1e-4)
    assert (len(row[:, -3].unique()) == 1) == (agent == "authors"), "one reward a batch, or one an image"
    torch.testing.assert_close(row[:, :64], (clean / clean.sum((1, 2), keepdim=True)).flatten(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(row[:, 64:69], logits.detach())
    strength = clean.sum((1, 2)).log() - clean.sum((1, 2)).mean().log()
    torch.testing.assert_close(row[:, 69], strength, rtol=1e-4, atol=1e-5)
    assert task(batch, at(step=4))["reward"].item() == pytest.approx(cosine.item(), rel=1e-4)


def test_each_image_has_the_credit_of_both_its_mixes():
    generator = torch.Generator().manual_seed(0)
    clean, mixed = torch.rand(5, 3, 3, generator=generator), torch.rand(5, 3, 3, generator=generator)
    partner = torch.tensor([3, 1, 0, 4, 2])
    shares, credit = agreement(clean, mixed), credit_of(agreement(clean, mixed), partner)
    norm = math.sqrt(sum(v * v for v in clean.flatten().tolist()) * sum(v * v for v in mixed.flatten().tolist()))
    for b in range(5):
        dot = sum(u * v for u, v in zip(clean[b].flatten().tolist(), mixed[b].flatten().tolist(), strict=True))
        assert shares[b].item() == pytest.approx(5 * dot / norm)
        (other,) = [a for a in range(5) if partner[a] == b]
        assert credit[b].item() == pytest.approx((shares[b] + shares[other]).item() / 2)
    assert credit.mean().item() == pytest.approx(shares.mean().item())
    assert agreement(clean, 3e-12 * clean).mean().item() == pytest.approx(1)
    assert agreement(clean, 0 * clean).tolist() == [0] * 5


@pytest.mark.parametrize("agent", AGENTS)
def test_a_network_that_says_nothing_is_no_trouble(make_batch, at, agent):
    task, batch = make_task(agent), make_batch(6)
    nn.init.zeros_(task.head.fc.weight)  # no gradient reaches the images
    report = task(batch, at())
    report["loss"].backward()
    task.after_step(at())
    assert all(bool(value.isfinite().all()) for value in task.state_dict().values())
    assert task.learner.reward == 0
    torch.testing.assert_close(task.learner.memory[0, :, :64], torch.full((6, 64), 1 / 64))


@pytest.mark.parametrize("agent", AGENTS)
def test_a_gradient_that_overflows_rewards_nothing(make_batch, at, agent):
    task, batch = make_task(agent), make_batch(6)
    (task(batch, at())["loss"] * math.inf).backward()
    task.after_step(at())
    assert bool(task.learner.memory.isfinite().all())


@pytest.mark.parametrize("agent", AGENTS)
def test_an_evaluation_and_a_step_without_gradients_leave_the_agent_alone(make_batch, at, agent):
    task, batch = make_task(agent), make_batch(6)
    before = {k: v.clone() for k, v in task.learner.state_dict().items()}
    task.eval().predict(batch.images)
    with torch.no_grad():
        task.train()(batch, at())
    task.after_step(at())
    assert all(torch.equal(before[k], v) for k, v in task.learner.state_dict().items())
    assert not batch.images.requires_grad


# What is whose


@pytest.mark.parametrize("agent", AGENTS)
def test_the_agent_is_no_parameter_of_the_task_but_part_of_its_state(agent):
    task = make_task(agent)
    assert {name.split(".")[0] for name, _ in task.named_parameters()} == {"backbone", "head"}
    (group,) = task.parameter_groups()
    assert len(group["params"]) == len(list(task.parameters()))
    state = {f"learner.{name}" for name in ("theta", "mean", "square", "count", "memory", "reward")}
    assert {name for name in task.state_dict() if name.startswith("learner")} == state
    assert set(task._ddp_params_and_buffers_to_ignore) == state
    assert len(task.learner.theta) == sum(p.numel() for p in task.learner._agent[0].parameters())


def test_sizes_of_the_authors_agent_and_of_ours():
    """100 images of 100 classes, as for CIFAR-100."""
    assert sum(p.numel() for p in AuthorsAgent(100, 8, 100, 10).parameters()) == pytest.approx(7.5e6, rel=0.02)
    assert sum(p.numel() for p in PerImageAgent(100, 8, 100, 10).parameters()) < 25_000


@pytest.mark.parametrize("agent", [PerImageAgent(5, 8, 4, 10), AuthorsAgent(5, 8, 4, 10)], ids=AGENTS)
def test_agents_begin_with_all_actions_alike(agent):
    seen = Seen(torch.rand(3, 5, 8, 8) / 32, torch.randn(3, 5, 4), torch.randn(3, 5), torch.ones(3, 5))
    scores, values = agent(seen)
    assert scores.shape == (3, 5, 10) and values.shape == (3, 5)
    assert bool((scores.softmax(-1) - 0.1).abs().max() < 0.01)


def test_our_agent_treats_images_alike_whatever_their_order():
    agent = PerImageAgent(5, 8, 4, 10)
    valid = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    seen = Seen(torch.rand(2, 5, 8, 8), torch.randn(2, 5, 4), torch.randn(2, 5), valid)
    order = torch.tensor([3, 1, 0, 2, 4])
    scores, values = agent(seen)
    moved = agent(Seen(*(part[:, order] for part in seen)))
    torch.testing.assert_close(moved, (scores[:, order], values[:, order]))
    fewer = agent(Seen(*(part[:1, :4] for part in seen)))
    torch.testing.assert_close(fewer[0], scores[:1, :4])
    others = agent(seen._replace(logits=seen.logits.roll(1, 1)))
    assert not torch.allclose(others[0].roll(-1, 1), scores), "it knows which map belongs to which logits"


# Acting and learning


@pytest.mark.parametrize("agent", AGENTS)
def test_what_is_remembered_is_what_was_done(agent):
    torch.manual_seed(0)
    network = {"per_image": PerImageAgent, "authors": AuthorsAgent}[agent](4, 8, 3, 10)
    learner = TauLearner(network, 4, 8, 3, PPOSettings(n_steps=2))
    learner.theta.normal_(std=0.3)
    saliency, logits = torch.rand(3, 8, 8), torch.randn(3, 3)
    actions, row = learner.act(saliency, logits, 7, torch.Generator().manual_seed(1))
    assert row[:, -2].tolist() == [1, 1, 1, 0] and row[:3, -1].tolist() == [7] * 3
    seen = Seen(row[None, :, :64].unflatten(2, (8, 8)), row[None, :, 64:67], row[None, :, 67], row[None, :, -2])
    scores, values = learner.run(learner.theta, seen)
    assert torch.equal(row[:3, -6].long(), actions)
    expected = torch.distributions.Categorical(logits=scores[0, :3]).log_prob(actions)
    torch.testing.assert_close(row[:3, -5], expected)
    torch.testing.assert_close(row[:, -4], values[0])
    uniform = torch.rand(4, generator=torch.Generator().manual_seed(1)).tolist()
    for probabilities, u, action in zip(scores[0].softmax(1).tolist(), uniform, actions.tolist(), strict=False):
        assert sum(probabilities[:action]) <= u < sum(probabilities[: action + 1])
    with pytest.raises(ValueError, match="5 images"):
        learner.act(torch.rand(5, 8, 8), torch.randn(5, 3), 0, torch.Generator())


def ppo_by_hand(agent, rows, settings, gamma, seed, step, progress):
    """stable-baselines3's algorithm in the words of the paper, with torch's Adam, on whole batches only."""
    maps, logits, strength = rows[:, :, :64].unflatten(2, (8, 8)), rows[:, :, 64:-7], rows[:, :, -7]
    actions, before, values, rewards, _, epochs = rows[:, :, -6:].unbind(2)
    if agent.joint:
        values, rewards, before = values[:, :1], rewards[:, :1], before.sum(1, keepdim=True)
    advantages = torch.zeros_like(rewards)
    for t in range(len(rows)):
        weight = 1.0
        for later in range(t, len(rows)):
            end = later + 1 == len(rows) or epochs[later, 0] != epochs[later + 1, 0]
            following = 0 if end else values[later + 1]
            advantages[t] += weight * (rewards[later] + gamma * following - values[later])
            weight *= 0 if end else gamma * settings.gae_lambda
    returns = advantages + values
    optimizer = torch.optim.Adam(agent.parameters(), lr=settings.lr * (1 - progress) ** 0.9, eps=1e-5)
    generator = generator_for(seed, "rlmix learns", step)
    for _ in range(settings.n_epochs):
        for i in torch.randperm(len(rows), generator=generator).split(settings.minibatch):
            scores, expected = agent(Seen(maps[i], logits[i], strength[i], torch.ones(len(i), maps.shape[1])))
            now = torch.distributions.Categorical(logits=scores).log_prob(actions[i])
            if agent.joint:
                now, expected = now.sum(1, keepdim=True), expected[:, :1]
            advantage = (advantages[i] - advantages[i].mean()) / (advantages[i].std() + 1e-8)
            ratio = (now - before[i]).exp()
            gain = torch.minimum(ratio * advantage, ratio.clip(1 - settings.clip, 1 + settings.clip) * advantage)
            loss = -gain.mean() + settings.vf_coef * F.mse_loss(expected, returns[i])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), settings.max_grad_norm)
            optimizer.step()
    return nn.utils.parameters_to_vector(agent.parameters()).detach()


@pytest.mark.parametrize("agent", AGENTS)
def test_learning_is_ppo(at, agent):
    torch.manual_seed(0)
    network = {"per_image": PerImageAgent, "authors": AuthorsAgent}[agent](4, 8, 3, 10)
    settings = PPOSettings(n_steps=8, minibatch=3, n_epochs=3, lr=0.02)
    reference = type(network)(4, 8, 3, 10)
    reference.load_state_dict(network.state_dict())
    learner = TauLearner(network, 4, 8, 3, settings)
    begin, rows = learner.theta.clone(), []
    for step in range(8):
        row = learner.act(torch.rand(4, 8, 8), torch.randn(4, 3), step // 5, at(step=step).generator("rlmix"))[1]
        rows.append(learner.rewarded(row, torch.rand(4)))
        assert torch.equal(learner.theta, begin)
        learner.remember(rows[-1:], replace(at(step=step), progress=0.4))
    assert not learner.memory.any(), "it begins anew"
    gamma = {"per_image": 0.0, "authors": 0.99}[agent]
    expected = ppo_by_hand(reference, torch.stack(rows), settings, gamma, seed=0, step=7, progress=0.4)
    torch.testing.assert_close(learner.theta, expected, rtol=1e-3, atol=5e-4)  # of 9 steps of 0.02
    assert (learner.theta - begin).abs().max() > 0.05
    assert learner.count == 9


@pytest.mark.parametrize("agent", AGENTS)
def test_padding_teaches_nothing(at, agent):
    """What stands in the rows of padding, and in steps that never were, changes nothing."""
    states = []
    for junk in (0.0, 5.0):
        torch.manual_seed(0)
        network = {"per_image": PerImageAgent, "authors": AuthorsAgent}[agent](4, 8, 3, 10)
        learner = TauLearner(network, 4, 8, 3, PPOSettings(n_steps=4, minibatch=2, n_epochs=2, lr=0.02))
        for step in range(4):
            row = learner.act(torch.rand(3, 8, 8), torch.randn(3, 3), 0, at(step=step).generator("rlmix"))[1]
            row[3:, -6:-2] += torch.tensor([0, junk, junk, junk])
            learner.remember([learner.rewarded(row, torch.rand(3))], at(step=step))
        states.append(learner.theta)
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("agent", AGENTS)
def test_it_learns_what_is_rewarded(at, agent):
    """A world where an image's second logit says which tau is good, or, for the authors' agent, one is for all."""
    torch.manual_seed(0)
    network = {"per_image": PerImageAgent, "authors": AuthorsAgent}[agent](4, 8, 2, 3)
    learner = TauLearner(network, 4, 8, 2, PPOSettings(n_steps=50, minibatch=25, lr=1e-3))
    rewards = []
    for step in range(600):
        generator = torch.Generator().manual_seed(step)
        wanted = torch.randint(3, (4,), generator=generator) if agent == "per_image" else torch.full((4,), 2)
        logits = torch.stack([torch.zeros(4), wanted - 1.0], 1)
        actions, row = learner.act(torch.ones(4, 8, 8), logits, step // 50, at(step=step).generator("rlmix"))
        learner.remember([learner.rewarded(row, (actions == wanted).float())], at(step=step))
        rewards.append(learner.reward.item())
    first, last = sum(rewards[:50]) / 50, sum(rewards[-100:]) / 100
    assert 0.25 < first < 0.42
    assert last > 0.5


# In a run


def rl_config(agent, **changes):
    model = {
        "type": "RLMixClassification",
        "batch_size": 8,
        "agent": agent,
        "n_steps": 5,
        "minibatch": 2,
        "n_epochs": 2,
    }
    backbone = {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}
    head = {"type": "ClsMixupHead", "num_classes": 10}
    return {"model": {**model, "backbone": backbone, "head": head, "agent_lr": 0.05}, **changes}


@pytest.fixture(scope="module")
def straight(lab, tmp_path_factory):
    """The config of an agent, and the work dir of its uninterrupted run."""
    done = {}

    def run(agent):
        if agent not in done:
            folder = tmp_path_factory.mktemp("straight")
            path = lab.write(folder, **rl_config(agent, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}]))
            assert lab.train(path, folder / "run") is not None
            done[agent] = path, folder / "run"
        return done[agent]

    return run


@pytest.mark.parametrize("stop_after", [3, 5, 7])
@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_that_is_cut_while_the_agent_gathers_goes_on_to_the_bit(lab, straight, tmp_path, agent, stop_after):
    path, whole = straight(agent)
    assert lab.train(path, tmp_path / "cut", stop_after=stop_after) is None
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(whole, tmp_path / "cut")


@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_teaches_the_agent_and_logs_its_reward(lab, straight, agent):
    _, whole = straight(agent)
    state = lab.state(whole)["model"]
    assert state["learner.count"] == 2 * 2 * 3  # memories, passes, minibatches
    assert [bool(state["learner.memory"][i].any()) for i in range(5)] == [True, True, False, False, False]
    trained = [r for r in lab.records(whole) if r["split"] == "train"]
    assert all(0 < r["reward"] < 1 and 0 < r["tau"] < 1 for r in trained)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What :data:`SCRIPT` leaves: of one process that accumulates, and of two."""
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True, timeout=120, capture_output=True)
    return [torch.load(folder / f"{name}.pt") for name in ("alone", "0", "1")]


@pytest.mark.parametrize("agent", AGENTS)
def test_two_processes_are_one_that_accumulates(two_processes, agent):
    """Losses and rewards, and the network and the agent in the end; BatchNorm's statistics are the main process's."""
    alone, *ranks = (found[agent] for found in two_processes)
    for step, *both in zip(alone["steps"], *(r["steps"] for r in ranks), strict=True):
        assert all(torch.equal(step["reward"], one["reward"]) for one in both)
        torch.testing.assert_close(step["losses"], [one["losses"][0] for one in both])
    for name, value in alone["state"].items():
        if "running" not in name and "num_batches" not in name:
            for one in ranks:
                torch.testing.assert_close(one["state"][name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert alone["state"]["learner.count"] == 2 * 2 * 2


def test_bf16_autocast_leaves_the_agent_in_float32(make_batch, at):
    task, batch = make_task(n_steps=2), make_batch(6)
    for step in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = task(batch, at(step=step))["loss"]
        loss.backward()
        task.after_step(at(step=step))
    assert task.learner.count > 0 and bool(task.learner.theta.isfinite().all())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in task.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"agent": "author"}, "agent"),
        ({"alpha": -1.0}, "alpha"),
        ({"patches": []}, "patches"),
        ({"pairing": "rolled"}, "pairing"),
        ({"num_taus": 0}, "num_taus"),
        ({"n_steps": 0}, "n_steps"),
        ({"minibatch": 0}, "minibatch"),
        ({"n_epochs": 1.5}, "n_epochs"),
        ({"gamma": 1.5}, "gamma"),
        ({"gae_lambda": -0.1}, "gae_lambda"),
        ({"clip": 0}, "clip"),
        ({"max_grad_norm": 0}, "max_grad_norm"),
        ({"agent_lr": 0}, "lr"),
        ({"agent": "authors", "agent_grid": 3}, "agent_grid"),
    ],
    ids=str,
)
def test_wrong_values_are_named_when_the_task_is_built(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_task(**wrong)
