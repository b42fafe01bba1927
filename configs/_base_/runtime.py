randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="top1"),
    logger=dict(type="LoggerHook", interval=100),
)
vis_backends = [dict(type="TensorboardVisBackend")]
