"""PreActResNet-18 on CIFAR-100 with RL-Mix and openmix's agent, which chooses image by image.

Nobody has published a figure for this agent. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./preactresnet18_rlmix.py"
model = dict(agent="per_image")
