"""What the viewer shows of a trained network: a crop, and its view and poses after a yaw."""

import numpy as np
import torch

from datasets import FrameDataset, MultiViewDataset
from models import EncodeDecode
from training.loop.hardware import Hardware
from training.loop.loaders import VIEW_KEYS, normalize_batch
from training.metrics import n_mpjpe
from training.stages.centering import targets_of
from training.trained.copies import Estimate, estimate_poses
from training.trained.evaluation import motion_names
from training.trained.spaces import crop_space
from utils.errors import UserError
from utils.geometry import yaw_rotation
from utils.images import denormalize
from utils.plotting import crop_to_image
from utils.space import Space
from utils.viewer import Panels


class RotatedView:
    """`view(index, yaw)` for the viewer: crops of `dataset`, rotated about the vertical by `network`.

    Image 0 is row `first`; the others come in a fixed random order, so that neighbors differ. Each crop is encoded
    once: a yaw rotates its points and poses and renders them in front of the crop's background. The output image needs
    "img_crop" among the network's output types, the predicted pose needs "3D".
    """

    def __init__(self, network: EncodeDecode, dataset: MultiViewDataset, hardware: Hardware, first: int = 0):
        self.network, self.dataset, self.hardware = network.eval(), dataset, hardware
        self.motions = motion_names(dataset)
        self.rows = viewing_order(dataset, first)
        self._encoded: tuple[int, dict] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def __call__(self, index: int, yaw: float) -> Panels:
        """The panels of image `index`, rotated by `yaw` radians about the world's vertical."""
        crop = self._crop(index)
        rotated = {**crop["inputs"], "external_rotation_global": yaw_rotation(yaw).to(self.hardware.device)}
        cam2cam = self.network.cam2cam(rotated, torch.zeros(1, dtype=torch.long, device=self.hardware.device))
        # Joints are rows, hence the transpose.
        rotation = cam2cam[0].cpu().numpy().T
        return Panels(
            crop_to_image(denormalize(crop["inputs"]["img_crop"])[0]),
            self._render(crop, cam2cam),
            None if crop["predicted"] is None else crop["predicted"] @ rotation,
            None if crop["true"] is None else crop["true"] @ rotation,
            crop["caption"],
            crop["flagged"],
        )

    def space(self, index: int) -> Space:
        """The 3D space around the person of image `index`, before the yaw."""
        crop, row = self._crop(index), self.rows[index]
        points = crop["points"][0].float().cpu().numpy()
        return crop_space(self.dataset, row, crop["predicted"], crop["true"], points, crop["trust"])

    @torch.no_grad()
    def _crop(self, index: int) -> dict:
        # Moving the slider asks for many yaws of one crop, and encoding takes longer than all the rest.
        if self._encoded is None or self._encoded[0] != index:
            self._encoded = (index, self._encode(self.rows[index]))
        return self._encoded[1]

    def _render(self, crop: dict, cam2cam: torch.Tensor) -> np.ndarray | None:
        if "img_crop" not in self.network.output_types:
            return None
        with self.hardware.autocast():
            points = self.network.rotate(crop["points"], cam2cam)
            image = self.network.decode(crop["appearance"], points, crop["background"])
        return crop_to_image(denormalize(image)[0])

    def _encode(self, row: int) -> dict:
        batch = self.hardware.move(self.dataset.__getitems__([row]))
        inputs, predicted, true, judged = normalize_batch(batch), None, None, None
        with self.hardware.autocast():
            appearance, points = self.network.encode(inputs["img_crop"])
            if "3D" in self.network.output_types:
                predicted = self.network.denormalize_pose(self.network.pose(points))[0].cpu()
                # It encodes copies of the crop, which is only worth while where they are judged.
                if self.network.trust is not None:
                    judged = estimate_poses(self.network, inputs["img_crop"], False, encoded=(appearance, points))
        if "3D" in self.dataset.labels:
            true = torch.from_numpy(self.dataset.labels["3D"][row])
        return {
            "inputs": inputs,
            "background": targets_of(self.network, inputs).get("bg_crop"),
            "appearance": appearance,
            "points": points,
            "predicted": None if predicted is None else predicted.reshape(-1, 3).numpy(),
            "true": None if true is None else true.reshape(-1, 3).numpy(),
            "caption": self._caption(row, predicted, true) + _trust_text(judged),
            "flagged": judged is not None and judged.flagged.item(),
            "trust": None if judged is None else judged.trust.item(),
        }

    def _caption(self, row: int, predicted: torch.Tensor | None, true: torch.Tensor | None) -> str:
        subject, camera, frame = (self.dataset.labels[name][row] for name in ("subj", "cam", "frame"))
        caption = f"image {row}: subject {subject}, {self.motions[row]}, camera {camera}, frame {frame}"
        if predicted is None:
            return f"{caption}, no trained pose decoder"
        if true is None:
            return caption
        return f"{caption}, N-MPJPE {1000 * n_mpjpe(predicted, true).item():.0f} mm"


def viewing_keys(network: EncodeDecode) -> tuple[str, ...]:
    """The keys that a dataset must read for `RotatedView`: backgrounds only where views are rendered before them."""
    return tuple(key for key in VIEW_KEYS if key != "bg_crop" or "img_crop" in network.output_types)


def _trust_text(judged: Estimate | None) -> str:
    """What the caption says of the trust in a pose; nothing of a network that was not calibrated for it."""
    if judged is None:
        return ""
    warning = "; flagged: unlike the training" if judged.flagged.item() else ""
    return f", trust {judged.trust.item():.2f} (expected {judged.expected_error.item():.0f} mm{warning})"


def viewing_order(dataset: MultiViewDataset | FrameDataset, first: int) -> list[int]:
    """All rows of a set in the order of a viewer, from `first`. UserError where there is no such row."""
    if not 0 <= first < len(dataset):
        raise UserError(f"there is no image {first} in {str(dataset.root)!r}; expected 0 to {len(dataset) - 1}")
    # Neighbors in a set are the other cameras of one instant. The order is fixed, so that pictures can be repeated.
    others = np.random.default_rng(0).permutation(len(dataset))
    return [first, *others[others != first].tolist()]
