"""Training and evaluation from config files: the one package that meets mmengine's hooks and visualizers."""
