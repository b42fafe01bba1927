"""Config text reads back as what it was made of, on lines of 120 characters."""

import random

import pytest

from openmix.convert.spell import WIDTH, spell, spell_config, spell_short

WORDS = ["type", "lr", "a b", "class", "ümlaut", 'quo"te', "back\\slash", "(bn|ln)(\\d+)?"]


def some(rng: random.Random, depth: int = 0):
    kind = rng.randrange(7 if depth < 4 else 4)
    if kind < 4:
        return [rng.uniform(-1, 1), rng.randrange(1000), rng.choice(WORDS) * rng.randrange(6), None][kind]
    items = [some(rng, depth + 1) for _ in range(rng.randrange(6))]
    return items if kind == 4 else {rng.choice(WORDS) + str(i): item for i, item in enumerate(items)}


@pytest.mark.parametrize("seed", range(40))
def test_round_trip(seed):
    value = some(random.Random(seed))
    text = spell(value)
    assert eval(text) == value
    assert spell_short(value, 1000) == text or "\n" in text


def test_a_file_reads_back(tmp_path):
    cfg = {"a": {"x": (1, 2.5), "y": float("inf")}, "b": [True, None, {"long": ["word"] * 30}]}
    names: dict = {}
    text = spell_config("Says why.\n", cfg)
    exec(text, names)
    assert names["__doc__"] == "Says why.\n"
    assert names["a"] == {"x": [1, 2.5], "y": float("inf")} and names["b"] == cfg["b"]
    assert max(map(len, text.splitlines())) <= WIDTH


def test_lines_are_broken_as_late_as_they_can_be():
    fits = {"k": "x" * (WIDTH - len('dict(k="")') - 4)}
    assert "\n" not in spell(fits, used=4)
    assert "\n" in spell(fits, used=5)


def test_a_key_that_is_a_keyword():
    value = {"custom_keys": {"lambda": {"lr_mult": 0.1}}}
    assert spell(value) == "dict(custom_keys={'lambda': dict(lr_mult=0.1)})" and eval(spell(value)) == value


def test_short():
    assert spell_short({"a": "x" * 100}, 20) == 'dict(a="xxxxxxxxx...'
