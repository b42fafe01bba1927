# scikit-learn's handwritten digits with 10 labelled images a class; val chooses settings, test is for the table.
data_preprocessor = dict(mean=[0.305], std=[0.357])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=50,
    dataset=dict(type="Digits", split="train", labels_per_class=10),
    pipeline=[dict(type="RandomCrop", size=16, padding=2)],
)
val_dataloader = dict(type="ResidentLoader", batch_size=500, dataset=dict(type="Digits", split="val"))
test_dataloader = dict(type="ResidentLoader", batch_size=500, dataset=dict(type="Digits", split="test"))
