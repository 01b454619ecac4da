"""Poses and novel views by NumPy and ONNX Runtime: no PyTorch, and nothing else of this project.

# once, where the project is installed:
python configs/export_weights.py --onnx --output output/onnx network_path=examples/weights/benchmark64.safetensors
# then without it:
python examples/onnx_without_pytorch.py output/onnx views.png [CROP.png BACKGROUND.png]
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

folder, output, *pictures = map(Path, sys.argv[1:])
camera = Path(__file__).resolve().parent / "sample_set" / "seq_000" / "cam_00"
pictures = pictures or [camera / "img_crop_000000.png", camera / "bg_crop_000000.png"]
pose, encode, decode = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("pose", "encode", "decode"))
about, *others = (graph.get_modelmeta().custom_metadata_map for graph in (pose, encode, decode))
if any(other.get("network") != about.get("network") for other in others):
    sys.exit(f"{folder} holds graphs of different networks; expected those of one export")


def read_square(file):
    """A crop (1,R,R,3) as pose_from_crop reads it: rotated as its EXIF orientation tells, resized bilinearly."""
    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    if picture.width != picture.height:
        sys.exit(f"{file} is {picture.width}x{picture.height} px; expected a square")
    return np.asarray(picture.resize((int(about["size"]),) * 2, Image.Resampling.BILINEAR))[None]


crop, background = map(read_square, pictures)

(poses,) = pose.run(None, {"crops": crop})  # (1,17,3): meters; x right, y down, z forward
for joint, position in zip(about["joints"].split(","), poses[0], strict=True):
    print(f"{joint:15}", *(f"{coordinate:+.2f}" for coordinate in position))

yaws = np.linspace(0, 2 * np.pi, 8, endpoint=False)  # about the camera's vertical axis
rotations = np.array([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in yaws], np.float32)
appearance, points = (latents.repeat(len(yaws), axis=0) for latents in encode.run(None, {"crops": crop}))
inputs = {"appearance": appearance, "points": points, "rotations": rotations}
(views,) = decode.run(None, {**inputs, "backgrounds": background.repeat(len(yaws), axis=0)})  # colors in 0..1
Image.fromarray(np.uint8(255 * np.concatenate(list(views), axis=1))).save(output)
