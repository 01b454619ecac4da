"""Changes of the input view for real cameras and detectors, on top of any recipe, for sets such as `wild`.

`python configs/train_encodeDecode.py --config configs/config_train_better.py --config configs/config_robust.py`; for
end-to-end training on labels (freeze_encoder=False), give it to train_encodeDecode_pose.py in the same way.
docs/results/robustness.md has what it gains and costs.
"""

AUGMENTATION = {
    # A detector's box is off by a tenth of its side, and by a quarter in size.
    "augment_shift": 0.125,
    "augment_scale": 0.3,
    # Cameras that lie on a shelf or hang on a wall.
    "augment_roll": 25.0,
    "augment_background": 0.6,
    "augment_person_color": 0.5,
    "augment_input_color": 0.5,
    "augment_blur": 1.5,
    "augment_noise": 0.06,
    "augment_compression": 0.5,
    "augment_hide": 0.3,
}

config_dict = AUGMENTATION
