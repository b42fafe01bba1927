"""Coming from elsewhere: OpenMixup's configs and four code bases' checkpoints become openmix's.

:func:`openmix.convert.config.convert_config` and :func:`openmix.convert.checkpoint.convert_checkpoint` do it.
"""
