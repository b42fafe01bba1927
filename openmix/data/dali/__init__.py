"""NVIDIA DALI: the counterparts of transforms as DALI's operators, and a pipeline that is fed by our own reader.

``nvidia.dali`` is imported when a pipeline is built, by nothing else.
"""
