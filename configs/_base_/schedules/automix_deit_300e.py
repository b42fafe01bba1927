# DeiT's recipe, whose rate ends at 1e-5 for the student and at 1e-4 for the mix block, as OpenMixup has it.
_base_ = "./deit_300e.py"
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=5, convert_to_iter_based=True, group="student"),
    dict(type="CosineAnnealingLR", eta_min=1e-4, begin=5, convert_to_iter_based=True, group="mix_block"),
]
