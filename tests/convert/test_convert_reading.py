"""What is read as a config of OpenMixup, and what of it is executed."""

from pathlib import Path

import pytest
import yaml

from openmix.convert.reading import read_old_config
from openmix.errors import UserError


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # mmengine's, where a config fails
class TestReading:
    def test_what_is_no_config_of_openmixup(self, tmp_path):
        path = tmp_path / "x.py"
        for text, message in (
            ("lr = 1\n", "is no training config of OpenMixup: it has no model, data, optimizer"),
            ("model = dict()\ntrain_dataloader = dict()\n", "is a config of openmix already"),
            ("1 / 0\n", "failed while it was read: ZeroDivisionError"),
            ("exit()\n", "failed while it was read: SystemExit"),
        ):
            path.write_text(text)
            with pytest.raises(UserError, match=message):
                read_old_config(str(path))

    def test_yaml_is_read_and_not_executed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        evil = "x: !!python/object/apply:os.system ['touch witness']\n"
        Path("old.yaml").write_text(evil)
        Path("base.py").write_text("_base_ = 'old.yaml'\n")
        for path in ("old.yaml", "base.py"):
            with pytest.raises(UserError, match=r"ConstructorError: [^$]*os.system"):
                read_old_config(path)
        assert not Path("witness").exists()

    def test_tuples_that_mmcv_writes_to_yaml(self, tmp_path):
        path = tmp_path / "old.yaml"
        path.write_text(yaml.dump({"model": {"size": (32, 32)}, "data": {}, "optimizer": {}}))
        assert "!!python/tuple" in path.read_text()
        assert read_old_config(str(path))["model"]["size"] == (32, 32)

    def test_a_missing_file(self):
        with pytest.raises(UserError, match="no config file nowhere"):
            read_old_config("nowhere.py")

    def test_an_unresolved_merge_in_a_base(self, old):
        """OpenMixup's own bases for CIFAR-10 were published like this."""
        data = Path(old()).parent / "data.py"
        data.write_text("<<<<<<< HEAD\n" + data.read_text())
        with pytest.raises(UserError, match=r"data.py, line 1: .*; it holds the marks of an unresolved merge"):
            read_old_config(old())

    def test_openmixups_modules_are_not_imported(self, old):
        assert "custom_imports" in read_old_config(old(custom_imports={"imports": ["no_such_module"]}))
