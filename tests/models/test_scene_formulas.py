"""Every variant of the published network of several people, pixel by pixel from its formulas.

Detector, encoder and decoder are taken as they are; all between them is computed a second time here, by loops over
frames and boxes and by sampling that is written out, in float64.
"""

import math

import pytest
import torch

from models import build_network
from models.scene.bumps import bump as rounded_bump
from tests.scene_networks import SMALL, move_boxes, some_frames
from utils.geometry import yaw_rotation
from utils.scene_keys import SCENE_KEYS

OUTPUTS = [name for name in SCENE_KEYS["output_types"].choices if name not in ("3D", "img_downscaled")]
NO_DEPTH = {"predict_transformer_depth": False}
NO_DEPTH["output_types"] = [name for name in OUTPUTS if name not in ("depth_map", "ST_depth")]
YAW = yaw_rotation(0.7).double()
# changes of the config, and further inputs
VARIANTS = {
    "published": ({}, {}),
    "one box": ({"spatial_transformer_num": 1}, {}),
    "three boxes": ({"spatial_transformer_num": 3}, {}),
    "no depth": (NO_DEPTH, {}),
    "no depth, three boxes, density": ({**NO_DEPTH, "spatial_transformer_num": 3, "normalize_mask_density": True}, {}),
    "no mask": ({"masked_blending": False}, {}),
    "no mask, no bump": ({"masked_blending": False, "spatial_transformer": True}, {}),
    "masks as decoded, density": ({"scale_mask_max_to_1": False, "normalize_mask_density": True}, {}),
    "no matching": ({"match_crops": False}, {}),
    "bandwidth": ({"similarity_bandwidth": 2}, {}),
    "groups of four": ({"useCamBatches": 4}, {}),
    "no groups": ({"useCamBatches": 0}, {}),
    "no shuffle": ({"shuffle_3d": False}, {}),
    "given boxes": ({}, {"spatial_transformer"}),
    "given permutations": ({"shuffle_fg": True}, {"shuffled_pose", "shuffled_appearance"}),
    "viewer": ({}, {"external_rotation_global", "external_rotation_cam"}),
    **{f"bump {kind}": ({"spatial_transformer": kind}, {}) for kind in ("GaussBsq", "GaussB", "Gauss", True)},
}
BUMPS = {
    "GaussBSqSqr": lambda u, v: compact(math.sqrt(u**4 + v**4)),
    "GaussBsq": lambda u, v: compact(u**4 + v**4),
    "GaussB": lambda u, v: compact(u**2 + v**2),
    "Gauss": lambda u, v: math.exp(-2 * (u**2 + v**2)),
    True: lambda u, v: 1.0,
}


def compact(q):
    return math.exp(1 - 1 / (1 - q)) if q < 1 else 0.0


def places(count):
    return torch.tensor([-1 + 2 * i / (count - 1) for i in range(count)], dtype=torch.float64)


def sample(image, x, y, border):
    """Image (C,H,W) at places x (W',), y (H',) in -1..1, bilinear -> (C,H',W')."""
    result = 0.0
    height, width = image.shape[1:]
    x, y = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
    if border:
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    for column, of_column in ((left, left + 1 - x), (left + 1, x - left)):
        for row, of_row in ((top, top + 1 - y), (top + 1, y - top)):
            of_column = of_column * ((column >= 0) & (column < width))
            of_row = of_row * ((row >= 0) & (row < height))
            taken = image[:, row.clamp(0, height - 1).long()][:, :, column.clamp(0, width - 1).long()]
            result = result + taken * of_row[:, None] * of_column[None, :]
    return result


def expected(network, config, batch, training):
    """The outputs by the formulas, in the network's order of boxes, frames and slots."""
    frames, people, side = batch["img"], config["spatial_transformer_num"], config["inputDimension"]
    count, (height, width) = len(frames), frames.shape[-2:]
    out = {}
    boxes, depths = network.detector(frames)
    out["spatial_transformer_raw"] = torch.stack([boxes[k, b] for b in range(count) for k in range(people)])
    if "spatial_transformer" in batch:
        boxes = batch["spatial_transformer"].view(count, people, 2, 3).transpose(0, 1)
    out["spatial_transformer"] = boxes
    steps = places(side)
    bump = rounded_bump(config["spatial_transformer"], frames.new_zeros(side, side))
    exact = [[BUMPS[config["spatial_transformer"]](u, v) for u in steps] for v in steps]
    # Published ones are rounded to float32.
    torch.testing.assert_close(bump, torch.tensor(exact).double(), rtol=0, atol=3e-7)

    def crops(images):
        return torch.stack(
            [
                sample(images[b], box[0, 0] * steps + box[0, 2], box[1, 1] * steps + box[1, 2], border=False)
                for k in range(people)
                for b in range(count)
                for box in [boxes[k, b]]
            ]
        )

    def frame_major(values):
        return torch.stack([values[k * count + b] for b in range(count) for k in range(people)])

    cut = crops(frames) * bump
    out["spatial_transformer_img_crop"], out["bg_crop"] = frame_major(cut), frame_major(crops(batch["bg"]))
    appearance, points = network.encoder(cut)
    out["latent_3d"], appearance = points, appearance.view(people, count, -1)
    out["latent_fg"], points = appearance, points.view(people, count, -1, 3)

    viewer = "external_rotation_cam" in batch and not training
    group = max(1, config["useCamBatches"])
    rolled = [b // group * group + (b % group - 1) % group for b in range(count)]
    still = viewer or not config["shuffle_3d"]
    target = batch["shuffled_pose"].tolist() if "shuffled_pose" in batch else list(range(count)) if still else rolled
    donor = batch["shuffled_appearance"].tolist() if "shuffled_appearance" in batch else list(range(count))
    slot = [target.index(view) for view in range(count)]
    out |= {"shuffled_pose": torch.tensor(target), "shuffled_pose_inv": torch.tensor(slot)}
    out["shuffled_appearance"] = torch.tensor(donor)
    to_world = batch["R_cam_2_world"]
    rotations = [to_world[target[i]].T @ to_world[i] for i in range(count)]
    if viewer:
        world, camera = batch["external_rotation_global"], batch["external_rotation_cam"]
        rotations = [camera @ to_world[i].T @ world @ to_world[i] for i in range(count)]
    out["cam2cam"] = torch.stack(rotations * people)
    rotated = torch.stack([torch.stack([points[k, i] @ rotations[i].T for i in range(count)]) for k in range(people)])
    out["latent_3d_rotated"] = rotated

    weights = torch.zeros(people, people, count, dtype=torch.float64)
    for view in range(count):
        for t in range(people):
            f, others = appearance[t, view, :16], appearance[:, slot[view], :16]
            cosines = torch.stack([f @ other / (1e-4 + f.norm() * other.norm()) for other in others])
            if people == 1 or not config["match_crops"]:
                weights[t, t, view] = 1
            elif training:
                weights[t, :, view] = torch.softmax(config["similarity_bandwidth"] * cosines, dim=0)
            else:
                weights[t, cosines.argmax(), view] = 1
    out["similarity_matrix"] = weights

    decoded = network.decoder(appearance[:, donor].flatten(0, 1), rotated.flatten(0, 1))
    masks = bump.expand(people * count, 1, side, side)
    if config["masked_blending"]:
        masks = (1e-4 + (1 - 1e-4) * torch.sigmoid(decoded[:, 3:])) * bump
        if config["scale_mask_max_to_1"]:
            masks = masks / (1e-4 + masks.amax((2, 3), keepdim=True))
    by_view = [k * count + slot[view] for k in range(people) for view in range(count)]
    images, masks = decoded[by_view, :3], masks[by_view]
    out["img_crop"], out["blend_mask_crop"] = frame_major(images), frame_major(masks)

    composed, alone, radiances, maps = [], [], [], []
    for view in range(count):
        colors, pasted, densities = [], [], []
        for t in range(people):
            box = boxes[t, view]
            x, y = ((places(n) - box[axis, 2]) / box[axis, axis] for axis, n in ((0, width), (1, height)))
            mixed = [
                sum(weights[t, s, view] * part[s * count + view] for s in range(people)) for part in (images, masks)
            ]
            image, mask = mixed if config["masked_blending"] else (mixed[0], bump[None])
            colors.append(sample(image, x, y, border=True))
            inside = sample(mask, x, y, border=False)
            pasted.append(inside / (1e-4 + inside.max()) if config["scale_mask_max_to_1"] else inside)
            densities.append(mask.sum())
        alone.append(torch.stack(pasted))
        total = sum(pasted)
        if config["predict_transformer_depth"]:
            z = depths[:, view]
            passing = [
                torch.exp(-sum(pasted[t] * (torch.erf(z[q] - z[t]) + 1) for t in range(people))) for q in range(people)
            ]
            behind = torch.exp(-2 * total)
            seen = [passing[q] * pasted[q] for q in range(people)]
            radiance = [one * (1 - behind) / (1e-4 + sum(seen)) for one in seen]
        else:
            radiance = [one / total.clamp(min=1) for one in pasted]
        if config["normalize_mask_density"]:
            radiance = [r * min(densities) / (1e-4 + d) for r, d in zip(radiance, densities, strict=True)]
        shown = sum(r * c for r, c in zip(radiance, colors, strict=True))
        composed.append(shown + (1 - sum(radiance)) * batch["bg"][view])
        radiances.append(torch.stack(radiance))
        if config["predict_transformer_depth"]:
            maps.append((z.max() + 1) * behind + sum(z[q] * radiance[q] for q in range(people)))
    out |= {"img": torch.stack(composed), "radiance_normalized": torch.stack(radiances, dim=1)}
    out["masks"] = torch.stack(alone, dim=1)
    channels = [out["radiance_normalized"][k, :, 0] for k in range(people)]
    channels += [torch.zeros_like(channels[0])] * (people == 2)
    out["blend_mask"] = torch.stack(channels, dim=1)
    if config["predict_transformer_depth"]:
        out |= {"ST_depth": depths, "depth_map": torch.stack(maps)}
    return out


@torch.no_grad()
@pytest.mark.parametrize(("changes", "given"), VARIANTS.values(), ids=VARIANTS)
def test_every_output_is_what_the_formulas_say(changes, given):
    torch.manual_seed(0)
    config = {**SMALL, "output_types": OUTPUTS, **changes}
    network = build_network(config).double()
    move_boxes(network)
    batch = {name: value.double() for name, value in some_frames().items()}
    count = len(batch["img"]) * config["spatial_transformer_num"]
    boxes = torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.5, 0.0]]).double().repeat(count, 1, 1)
    boxes[:, :, 2] = torch.rand(count, 2) - 0.5
    extra = {
        "spatial_transformer": boxes,
        "shuffled_pose": torch.tensor([2, 0, 1, 3]),
        "shuffled_appearance": torch.tensor([3, 1, 0, 2]),
        "external_rotation_global": YAW,
        "external_rotation_cam": YAW @ YAW,
    }
    batch |= {name: value for name, value in extra.items() if name in given}
    for training in (False, True):
        ours, theirs = network.train(training)(batch), expected(network, config, batch, training)
        assert set(ours) == set(theirs) == set(config["output_types"])
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, msg=lambda text, name=name: f"{name}: {text}")
