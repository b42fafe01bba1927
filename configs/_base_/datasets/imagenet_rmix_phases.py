# ImageNet as R-Mix trains it on 4 GPUs: to epoch 15 on copies of 160 pixels' shorter side, then on copies of 352
# pixels, which `openmix resize data/imagenet data --size 160 352` writes. It validated its first phase on the small
# copies; here validation is on the large ones throughout, so that its figures can be compared.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="PhasedLoader",
    begins=[0, 15],
    loaders=[
        dict(
            type="TorchLoader",
            batch_size=256,
            num_workers=12,
            dataset=dict(type="ImageNet", data_root="data/size160", split="train"),
            pipeline=[dict(type="RandomResizedCrop", size=128, scale=[0.08, 1.0]), dict(type="RandomHorizontalFlip")],
        ),
        dict(
            type="TorchLoader",
            batch_size=112,
            num_workers=10,
            dataset=dict(type="ImageNet", data_root="data/size352", split="train"),
            pipeline=[dict(type="RandomResizedCrop", size=224, scale=[0.087, 1.0]), dict(type="RandomHorizontalFlip")],
        ),
    ],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=112,
    num_workers=10,
    dataset=dict(type="ImageNet", data_root="data/size352", split="val"),
    pipeline=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
)
