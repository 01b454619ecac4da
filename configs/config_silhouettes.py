"""Stage 1 counts silhouettes more, on top of another recipe: where people, rooms, cameras and boxes differ.

`python configs/train_encodeDecode.py --config configs/config_train_better.py --config configs/config_silhouettes.py`
needs no label: silhouettes are where crops differ from their backgrounds. docs/results.md has what it gains.
"""

SILHOUETTES = {
    # Their layers are the mask.
    "color_by_appearance": True,
    "add_background": True,
    "loss_weight_masks": 20.0,
    # Boxes of two cameras are not off by the same.
    "center_targets": True,
    # Half of the targets are the crop's own view, which shows the encoder where limbs are before it can turn them.
    "target_other_view": False,
}

config_dict = SILHOUETTES
