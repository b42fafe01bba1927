# As runtime.py, but without best.pth: the last weights are the result, and what a probe says of them on the test set
# must not choose among them.
randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best=None),
    logger=dict(type="LoggerHook", interval=100),
)
vis_backends = [dict(type="TensorboardVisBackend")]
