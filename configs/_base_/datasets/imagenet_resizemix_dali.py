# ImageNet as ResizeMix trains it, packed into RecordIO and decoded by DALI, as there; 64 images on each of 8 GPUs.
#   openmix rec make data/imagenet/train data/imagenet/train.rec --classes data/imagenet/classes.json
#   openmix rec make data/imagenet/val data/imagenet/val.rec --classes data/imagenet/classes.json --no-shuffle
# num_threads are DALI's, for each process.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="DaliLoader",
    batch_size=64,
    num_threads=4,
    num_workers=1,
    dataset=dict(type="RecordIO", path="data/imagenet/train.rec", num_classes=1000),
    pipeline=[dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="DaliLoader",
    batch_size=64,
    num_threads=4,
    num_workers=1,
    dataset=dict(type="RecordIO", path="data/imagenet/val.rec", num_classes=1000),
    pipeline=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
)
