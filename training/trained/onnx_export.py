"""A trained network as ONNX files, for programs without PyTorch: crops to poses, crops to latents, latents to views."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from models import EncodeDecode
from training.loop.identity import weights_digest
from training.trained.load import open_network
from utils.commands import install_extra
from utils.errors import UserError
from utils.files import write_atomically
from utils.images import denormalize, normalize
from utils.locks import writing
from utils.skeleton import JOINT_NAMES, NUM_JOINTS

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

_EXAMPLES = 2  # crops in the batch that is traced; any other number runs, too


class _CropsToPoses(nn.Module):
    """uint8 crops (B,R,R,3) -> poses (B,17,3), meters, camera frame of each crop."""

    outputs = ("poses",)

    def __init__(self, network: EncodeDecode):
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        _, points = self.network.encode(normalize(crops.movedim(3, 1)))
        return self.network.denormalize_pose(self.network.pose(points)).unflatten(1, (NUM_JOINTS, 3))


class _CropsToLatents(nn.Module):
    """uint8 crops (B,R,R,3) -> appearance (B,A), points (B,N,3) in the camera frame of each crop."""

    outputs = ("appearance", "points")

    def __init__(self, network: EncodeDecode):
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.encode(normalize(crops.movedim(3, 1)))


class _LatentsToViews(nn.Module):
    """Latents, rotations (B,3,3) to other cameras, uint8 backgrounds (B,R,R,3) -> views (B,R,R,3), colors in 0..1."""

    outputs = ("views",)

    def __init__(self, network: EncodeDecode):
        super().__init__()
        self.network = network

    def forward(
        self, appearance: torch.Tensor, points: torch.Tensor, rotations: torch.Tensor, backgrounds: torch.Tensor
    ) -> torch.Tensor:
        rotated = self.network.rotate(points, rotations)
        return denormalize(self.network.decode(appearance, rotated, normalize(backgrounds.movedim(3, 1)))).movedim(1, 3)


class _LatentsToPlainViews(_LatentsToViews):
    """The same for a decoder that takes no background."""

    def forward(self, appearance: torch.Tensor, points: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        return denormalize(self.network.decode(appearance, self.network.rotate(points, rotations))).movedim(1, 3)


def export_onnx(config: dict, given: frozenset[str], folder: str | Path) -> list[Path]:
    """Write the network at `network_path` to ONNX files in `folder`, float32, for any number of crops; return them.

    `pose.onnx` (where poses were trained), `encode.onnx` and `decode.onnx` (where views were); their metadata say the
    side of a crop, the order of joints, and a digest of the weights, which tells graphs of two networks apart. Trust is
    not exported. UserError without the packages of the extra "export", for a network with neither, and for a folder
    with graphs of another network that this one would leave there.
    """
    _require_packages()
    on_cpu = {"device": "cpu", "precision": "float32"}
    network, config, *_ = open_network({**config, **on_cpu}, given)
    network.requires_grad_(False)
    crops = torch.zeros((_EXAMPLES, network.size, network.size, 3), dtype=torch.uint8)
    # Traced once here for the shapes of latents.
    latents = _CropsToLatents(network)(crops)
    rotations = torch.eye(3).repeat(_EXAMPLES, 1, 1)
    graphs: dict[str, tuple[nn.Module, tuple]] = {}
    # Published files hold no pose statistics, without which a pose means nothing.
    if "3D" in network.output_types and network.pose_mean.any():
        graphs["pose"] = (_CropsToPoses(network), (crops,))
    if "img_crop" in network.output_types:
        graphs["encode"] = (_CropsToLatents(network), (crops,))
        with_background = network.decoder.uses_background
        decode = _LatentsToViews if with_background else _LatentsToPlainViews
        graphs["decode"] = (decode(network), (*latents, rotations, *([crops] if with_background else [])))
    if not graphs:
        raise UserError(
            f"{config['network_path']!r} has nothing to export for {' and '.join(network.output_types)}; expected "
            "'img_crop', or '3D' of a network with pose statistics, which published files lack"
        )
    # An export into a used folder that is interrupted leaves graphs of both networks: their digests differ.
    digest = weights_digest(config["network_path"])
    about = {"size": str(network.size), "joints": ",".join(JOINT_NAMES), "network": digest}
    with writing(folder) as folder:
        for other in {"pose", "encode", "decode"} - graphs.keys():
            if (folder / f"{other}.onnx").exists():
                raise UserError(
                    f"{str(folder)!r} holds {other}.onnx of another network, which this one does not have; expected a "
                    "new folder"
                )
        files = [folder / f"{name}.onnx" for name in graphs]
        for file, (module, inputs) in zip(files, graphs.values(), strict=True):
            program = _traced(module, inputs)
            program.model.metadata_props.update(about)
            write_atomically(file, program.save)
    return files


def _traced(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> "ONNXProgram":
    """The graph of `module` with a free batch size."""
    free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},) * len(inputs)}
    # Exported here, because ONNX's exporter would fix the batch size without a word where it cannot be free.
    program = torch.export.export(module.eval(), inputs, **free)
    # What its optimizer leaves as it is concerns nobody.
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(program, dynamo=True, verbose=False, output_names=module.outputs, **free)


def _require_packages() -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX files need the packages onnx and onnxscript: {install_extra('export')}") from error
