"""What the viewer shows of a trained network in full frames: who is where, and another camera's view after a yaw."""

import numpy as np
import torch
from torch import nn

from datasets import FrameDataset
from datasets.layout.labels import instant_keys
from datasets.sampler import group_rows
from models.scene.perspective import crop_rotations
from training.loop.hardware import Hardware
from training.metrics import n_mpjpe
from training.scene_metrics import Comparison, People, true_people
from training.stages.scenes import scene_inputs
from training.trained.evaluation import motion_names
from training.trained.scene_evaluation import SeenPeople, compare_seen, scene_outputs, see_frames, seen_people
from training.trained.spaces import FrameCamera, frame_cameras, scene_space
from training.trained.viewing import viewing_order
from utils.geometry import rotate_points, yaw_rotation
from utils.images import denormalize
from utils.plotting import PEOPLE_COLORS, color_masks, crop_to_image, to_array
from utils.scene_viewer import Outline, ScenePanels
from utils.skeleton import NUM_JOINTS
from utils.space import Body, Space

UNMATCHED_COLOR = (0.75, 0.75, 0.75)  # of true people who were not found


class SceneView:
    """`view(index, yaw)` for the viewer: frames of `dataset` and what `network` sees in them.

    Image 0 is row `first`; the others come in a fixed random order, so that neighbors differ. People are found in the
    frame itself. Another camera's frame, the next of the instant, is composed from it, with people who are rotated in
    place by the yaw. Without an image decoder there are boxes and poses only, without a pose decoder no poses.
    """

    def __init__(self, network: nn.Module, dataset: FrameDataset, hardware: Hardware, first: int = 0):
        self.network, self.dataset, self.hardware = network.eval(), dataset, hardware
        self.motions = motion_names(dataset)
        self.rows = viewing_order(dataset, first)
        self.partners = _next_cameras(dataset)
        self._seen: tuple[int, dict] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def __call__(self, index: int, yaw: float) -> ScenePanels:
        """The panels of image `index`, with people rotated by `yaw` radians about the world's vertical."""
        seen = self._frame(index)
        panels, inputs = seen["panels"], seen["inputs"]
        turn = yaw_rotation(yaw)
        to_world = inputs["R_cam_2_world"][0].cpu()
        rotation = (to_world.mT @ turn @ to_world).numpy()
        rotated = {
            name: [(pose @ rotation.T, color) for pose, color in people]
            for name in ("predicted_poses", "true_poses")
            if (people := getattr(panels, name)) is not None
        }
        return panels._replace(output_image=self._compose(inputs, turn), **rotated)

    def space(self, index: int) -> Space:
        """The 3D space around the people of image `index`, before the yaw."""
        row, seen = self.rows[index], self._frame(index)
        camera = FrameCamera(self.dataset, row)
        bodies = self._bodies(camera, **seen["people"])
        return scene_space(bodies, frame_cameras(self.dataset, row, camera), camera.placed)

    @staticmethod
    def _bodies(camera: FrameCamera, seen: SeenPeople, points: torch.Tensor, labels: dict, true, found) -> list[Body]:
        bodies = []
        for person in _present(seen.people) if seen.poses is not None else ():
            box, cloud = seen.people.boxes[0, person].numpy(), points[person].numpy()
            of_crop = seen.people.maps is None
            bodies.append(camera.found(seen.poses[0, person].numpy(), box, cloud, _color(person), of_crop))
        if true is None or not {"3D", "position"} <= set(labels):
            return bodies
        poses, places = labels["3D"][0].unflatten(1, (NUM_JOINTS, 3)), labels["position"][0]
        for person in _present(true):
            if poses[person].isfinite().all() and places[person].isfinite().all():
                color = _true_color(found, person)
                bodies.append(camera.labeled(poses[person].numpy(), places[person].numpy(), color))
        return bodies

    @torch.no_grad()
    def _frame(self, index: int) -> dict:
        # Only the composed frame and the poses change with the yaw.
        if self._seen is None or self._seen[0] != index:
            self._seen = (index, self._see(self.rows[index]))
        return self._seen[1]

    def _compose(self, inputs: dict, turn: torch.Tensor) -> np.ndarray | None:
        """The other camera's frame, or the only one's, from the first frame, after a rotation of the world."""
        if self.network.decoder is None:
            return None
        inputs = {**inputs, "external_rotation_global": turn.to(self.hardware.device)}
        target = torch.arange(len(inputs["img"]), device=self.hardware.device).flip(0)
        with self.hardware.autocast():
            frames = scene_outputs(self.network, inputs, ["img"], target)["img"]
        return crop_to_image(denormalize(frames)[-1])

    def _see(self, row: int) -> dict:
        rows = list(dict.fromkeys([row, int(self.partners[row])]))
        batch = self.dataset.__getitems__(rows)
        inputs = scene_inputs(self.hardware.move(batch))
        also = ["depth_map"] if self.network.decoder is not None and self.network.depths else []
        with self.hardware.autocast():
            outputs = see_frames(self.network, inputs, also)
        seen = seen_people(self.network, outputs, inputs)
        masks = depths = None
        if "radiance_normalized" in outputs:
            masks = crop_to_image(color_masks(outputs["radiance_normalized"][:, :1, 0].transpose(0, 1))[0])
        if "depth_map" in outputs:
            depths = to_array(outputs["depth_map"])[0, 0]
        true = true_people(batch) if {"box", "mask"} & set(batch) else None
        frames = denormalize(inputs["img"])
        found = None if true is None else compare_seen(seen.people, true, batch, tuple(frames.shape[-2:]))
        panels = ScenePanels(
            input_image=crop_to_image(frames[0]),
            outlines=_outlines(seen.people, true, found),
            output_image=None,
            target_image=crop_to_image(frames[1]) if len(rows) > 1 else None,
            masks_image=masks,
            depth_map=depths,
            predicted_poses=_predicted_poses(seen),
            true_poses=None if true is None or "3D" not in batch else _true_poses(batch["3D"][0], true, found),
            caption=self._caption(rows, seen, batch, true, found),
        )
        points = _points(self.network, inputs, outputs)
        people = {"seen": seen, "points": points, "labels": batch, "true": true, "found": found}
        return {"inputs": {**inputs, "seen": outputs}, "panels": panels, "people": people}

    def _caption(
        self, rows: list[int], seen: SeenPeople, batch: dict, true: People | None, found: Comparison | None
    ) -> str:
        frame, camera = (self.dataset.labels[key][rows[0]] for key in ("frame", "cam"))
        place = f"image {rows[0]}: {self.motions[rows[0]]}, frame {frame}, camera {camera}"
        people = f", {int(seen.people.present[0].sum())} people found"
        if true is None:
            return place + people
        people += f" of {int(true.present[0].sum())}"
        if seen.poses is None or "3D" not in batch:
            return place + people
        errors = [
            f"{1000 * n_mpjpe(seen.poses[0, guess], label.view(NUM_JOINTS, 3)).item():.0f}"
            for guess, label in zip(found.match[0].tolist(), batch["3D"][0], strict=True)
            if guess >= 0 and label.isfinite().all()
        ]
        return place + people + (f", N-MPJPE {' and '.join(errors)} mm" if errors else "")


def _next_cameras(dataset: FrameDataset) -> np.ndarray:
    """For each row (N,), the row of the next camera of its instant; of a camera alone, its own."""
    instants = group_rows(dataset.labels, instant_keys(dataset.labels), within="cam")
    start, count = (np.repeat(values, instants.count) for values in (instants.start, instants.count))
    following = start + (np.arange(len(start)) - start + 1) % count
    partners = np.empty_like(instants.order)
    partners[instants.order] = instants.order[following]
    return partners


def _color(person: int) -> tuple[float, float, float]:
    return PEOPLE_COLORS[person % len(PEOPLE_COLORS)]


def _true_color(found: Comparison, person: int) -> tuple[float, float, float]:
    """A true person has the color of the predicted one that was found of it."""
    guess = int(found.match[0, person])
    return UNMATCHED_COLOR if guess < 0 else _color(guess)


def _present(people: People) -> list[int]:
    """Who is in the first frame, from left to right."""
    centers = people.boxes[0, :, 0] + people.boxes[0, :, 2] / 2
    return sorted(people.present[0].nonzero()[:, 0].tolist(), key=lambda person: float(centers[person]))


def _outlines(people: People, true: People | None, found: Comparison | None) -> list[Outline]:
    outlines = [Outline(people.boxes[0, person].tolist(), _color(person)) for person in _present(people)]
    if true is not None:
        outlines += [
            Outline(true.boxes[0, person].tolist(), _true_color(found, person), true=True) for person in _present(true)
        ]
    return outlines


def _predicted_poses(seen: SeenPeople) -> list | None:
    if seen.poses is None:
        return None
    return [(seen.poses[0, person].numpy(), _color(person)) for person in _present(seen.people)]


def _true_poses(poses: torch.Tensor, true: People, found: Comparison) -> list:
    return [
        (poses[person].view(NUM_JOINTS, 3).numpy(), _true_color(found, person))
        for person in _present(true)
        if poses[person].isfinite().all()
    ]


def _points(network: nn.Module, inputs: dict, outputs: dict) -> torch.Tensor:
    """Latent points (K,N,3) of the boxes of the first frame, in its camera's frame."""
    points = outputs["latent_3d"].unflatten(0, (network.boxes, -1))[:, 0].float()
    if network.perspective:
        turns = crop_rotations(outputs["spatial_transformer"], inputs["intrinsics"], inputs["img"].shape[-2:])
        points = rotate_points(points, turns[:, 0].mT)
    return points.cpu()
