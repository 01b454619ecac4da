"""Augmentation of the input view: only what the encoder sees changes, and what follows from a rolled camera."""

import numpy as np
import pytest
import torch

from configs.config_robust import AUGMENTATION
from models import build_network
from tests.networks import SMALL, some_inputs
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.engine import make_optimizer
from training.loop.hardware import Hardware
from training.loop.loaders import VIEW_KEYS, normalize_batch, open_training_set
from training.loop.mixing import open_training_sets
from training.stages.augmentation import augment, draw_augmentation, make_backgrounds, roll_cameras
from training.stages.augmentation.background import (
    PHOTOGRAPHS,
    TEXTURES,
    draw_replacements,
    person_masks,
    random_textures,
    replace_backgrounds,
)
from training.stages.augmentation.colors import bend_colors, draw_color_maps, map_colors
from training.stages.augmentation.geometry import draw_placements, place_by, roll_input, warp
from training.stages.augmentation.hiding import hide
from training.stages.augmentation.quality import add_noise, blur, compress, draw_blurs, draw_noises
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep, donors_in_true_colors, permutations, true_colors
from utils.errors import UserError
from utils.geometry import rotation_about
from utils.images import normalize_colors
from utils.keys import KEYS, defaults
from utils.pictures import read_picture

OFF = {**defaults(KEYS), "inputDimension": SIZE}
ALL = {**OFF, **AUGMENTATION}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE)


@pytest.fixture(scope="module")
def batch(data):
    dataset = open_training_set(tiny_config(data, ""), (*VIEW_KEYS, "3D"))
    return normalize_batch(dataset.__getitems__(np.arange(16)))


def augmented(batch, config, seed: int = 0):
    drawn = draw_augmentation(16, config, rng(seed), 4)
    return augment(batch, drawn, config, make_backgrounds(config, torch.device("cpu")))


def test_published_defaults_change_nothing_and_draw_nothing(batch):
    generator, untouched = rng(), rng()
    drawn = draw_augmentation(16, OFF, generator, 4)
    assert drawn == {} and torch.equal(generator.get_state(), untouched.get_state())
    assert augment(batch, drawn, OFF, make_backgrounds(OFF, torch.device("cpu"))) is batch
    assert not any(KEYS[key].default for key in AUGMENTATION)


@pytest.mark.parametrize("key", AUGMENTATION)
def test_each_change_touches_the_input_view_alone(batch, key):
    result = augmented(batch, {**OFF, key: AUGMENTATION[key]})
    assert result["input_crop"].shape == batch["img_crop"].shape and result["input_crop"].isfinite().all()
    assert not torch.allclose(result["input_crop"], batch["img_crop"], atol=0.05)
    follows = {"extrinsic_rot_inv", "3D"} if key in ("augment_roll",) else set()
    for name in batch.keys() - follows:
        assert torch.equal(result[name], batch[name]), name
    assert all(not torch.equal(result[name], batch[name]) for name in follows)


def test_the_same_seed_draws_the_same_and_another_one_does_not(batch):
    ours, again, other = (augmented(batch, ALL, seed)["input_crop"] for seed in (1, 1, 2))
    assert torch.equal(ours, again) and not torch.allclose(ours, other, atol=0.1)


def test_rolling_the_input_is_rolling_the_camera(batch):
    # What stage 1's other augmentation does to crop and camera together holds for the input view alone.
    rolls = rotation_about("z", torch.linspace(-1, 1, 16))
    whole = roll_cameras(batch, rolls)
    placements = place_by(rolls, torch.ones(16), torch.zeros(16, 2))
    ours = roll_input({**batch, "input_crop": warp(batch["img_crop"], placements)}, rolls)
    torch.testing.assert_close(ours["input_crop"], whole["img_crop"])
    for key in ("extrinsic_rot_inv", "3D"):
        torch.testing.assert_close(ours[key], whole[key])
    assert torch.equal(ours["extrinsic_rot"], batch["extrinsic_rot"])


def test_the_vertical_rolls_with_the_points():
    vertical, pose = torch.randn(5, 3, generator=rng()), torch.randn(5, 51, generator=rng(1))
    rolled = roll_input({"vertical": vertical, "3D": pose}, rotation_about("z", torch.linspace(-1, 1, 5)))
    heights, rolled_heights = (
        torch.einsum("bjc,bc->bj", some["3D"].view(5, 17, 3), some["vertical"])
        for some in ({"vertical": vertical, "3D": pose}, rolled)
    )
    torch.testing.assert_close(rolled_heights, heights)
    assert not torch.allclose(rolled["3D"], pose)


def test_a_network_with_a_rolled_input_aims_at_the_same_target():
    network, inputs = build_network({**SMALL, "output_types": ["cam2cam", "latent_3d"]}).eval(), some_inputs()
    rolls = rotation_about("z", torch.linspace(-1, 1, 4))
    rolled = roll_input({**inputs, "input_crop": inputs["img_crop"].flip(2)}, rolls)
    plain, ours = network(inputs), network(rolled)
    # From the rolled camera to the target: back by the roll first.
    torch.testing.assert_close(ours["cam2cam"] @ rolls, plain["cam2cam"])
    torch.testing.assert_close(ours["latent_3d"], network.encode(rolled["input_crop"])[1])


def test_placements_move_enlarge_and_roll_by_what_was_drawn():
    size = 64
    spot = torch.zeros(1, 1, size, size)
    spot[:, :, 31:33, 47:49] = 1  # its center: x 0.5, y 0
    rolls = rotation_about("z", torch.tensor([np.pi / 6]))
    moved = warp(spot, place_by(rolls, torch.tensor([1.4]), torch.tensor([[0.1, -0.3]])))[0, 0]
    places = (torch.arange(size) + 0.5) * 2 / size - 1
    found = torch.stack([(moved.sum(0) * places).sum(), (moved.sum(1) * places).sum()]) / moved.sum()
    expected = 1.4 * 0.5 * torch.tensor([np.cos(np.pi / 6), np.sin(np.pi / 6)]).float() + torch.tensor([0.1, -0.3])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_placements_stay_within_their_limits():
    drawn = draw_placements(500, 0.1, 0.25, 20.0, rng())
    scales = torch.linalg.det(drawn["placements"][:, :, :2]) ** -0.5
    assert 0.8 <= scales.min() < 0.85 and 1.2 < scales.max() <= 1.2501
    shifts = -(torch.linalg.inv(drawn["placements"][:, :, :2]) @ drawn["placements"][:, :, 2:])
    assert 0.19 < shifts.abs().max() <= 0.2001
    angles = torch.atan2(drawn["input_rolls"][:, 1, 0], drawn["input_rolls"][:, 0, 0]).rad2deg().abs()
    assert 19 < angles.max() <= 20.001


def test_another_background_leaves_the_person_and_a_masked_person_leaves_the_background(batch):
    masks = (person_masks(batch) > 0.5).float()
    masked = {**batch, "mask_crop": (masks * 255).to(torch.uint8)}
    inside = masks.expand(-1, 3, -1, -1) > 0
    assert 0.01 < inside.float().mean() < 0.6
    behind = augmented(masked, {**OFF, "augment_background": 1.0})["input_crop"]
    torch.testing.assert_close(behind[inside], batch["img_crop"][inside])
    assert (behind[~inside] - batch["img_crop"][~inside]).abs().mean() > 0.3
    colored = augmented(masked, {**OFF, "augment_person_color": 1.0})["input_crop"]
    torch.testing.assert_close(colored[~inside], batch["img_crop"][~inside])
    assert (colored[inside] - batch["img_crop"][inside]).abs().mean() > 0.1


def test_the_mask_of_a_difference_has_no_small_holes():
    background = torch.zeros(1, 3, 16, 16)
    crop = background.clone()
    crop[:, :, 4:12, 4:12] = 0.5
    crop[:, :, 7, 7] = 0  # a pixel that has the color of the background
    mask = person_masks({"img_crop": normalize_colors(crop), "bg_crop": normalize_colors(background)})
    expected = torch.zeros(1, 1, 16, 16)
    expected[:, :, 4:12, 4:12] = 1
    torch.testing.assert_close(mask, expected)


def test_colors_keep_gray_levels_in_order_and_some_views_keep_them_all():
    keep = torch.arange(64) % 4 == 0
    maps = draw_color_maps(64, 1.0, rng(), keep)
    pictures = torch.rand(64, 3, 8, 8, generator=rng())
    changed = map_colors(pictures, maps)
    torch.testing.assert_close(changed[keep], pictures[keep])
    assert (changed[~keep] - pictures[~keep]).abs().mean() > 0.1 and changed.min() >= 0 and changed.max() <= 1
    torch.testing.assert_close(bend_colors(pictures, torch.full((64, 1, 1, 1), -1.0)), pictures**2)


def test_the_donors_of_appearance_have_true_colors():
    config = {**OFF, "useCamBatches": 4, "useSubjectBatches": True}
    donors = permutations(32, config, rng())["shuffled_appearance"]
    true = true_colors(32, 4, rng(1))
    assert true.view(8, 4).sum(1).tolist() == [1] * 8 and len(set(true.view(8, 4).int().argmax(1).tolist())) > 1
    chosen = donors_in_true_colors(donors, true, 4)
    assert true[chosen].all() and torch.equal(chosen // 4, donors // 4)


def test_colors_of_their_own_do_not_shuffle_an_appearance_that_is_to_stay():
    config = tiny_config("", "", augment_input_color=0.5, shuffle_fg=False)
    network = build_network(config)
    optimizer = make_optimizer(network.parameters(), config)
    step = NovelViewStep(network, ImageLoss(config), optimizer, Hardware("cpu", "float32"), config)
    drawn = step.draw({"img_crop": torch.zeros(8, 3, 4, 4)}, rng())
    assert drawn["shuffled_appearance"].tolist() == list(range(8))


def test_blur_keeps_even_pictures_and_spreads_a_line_as_it_should():
    flat = torch.full((2, 3, 20, 20), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([[0.0, 0.0], [2.0, 1.0]])), flat)
    line = torch.zeros(2, 1, 33, 33)
    line[:, :, 16] = 1
    spread = blur(line, torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    places = torch.arange(33.0) - 16
    variance = (spread[0, 0, :, 5] * places.square()).sum()
    torch.testing.assert_close(variance, torch.tensor(4.0), atol=0.05, rtol=0)
    torch.testing.assert_close(spread[1], line[1])


def test_most_blurred_crops_are_out_of_focus_and_the_others_moved():
    drawn = draw_blurs(90, 4.0, rng())
    deviations = drawn["blurs"]
    alike = deviations[:, 0] == deviations[:, 1]
    assert len(deviations) == 30 == len(set(drawn["blurred"].tolist())) and alike.sum() == 20
    assert deviations.min() >= 0 and 3 < deviations[alike].max() <= 4 and 3 < deviations[~alike].max() <= 4


def test_compression_is_neutral_at_nothing_and_rounds_blocks_at_much():
    for size in (32, 20):
        pictures = torch.rand(2, 3, size, size, generator=rng())
        kept, rough = compress(pictures.clone(), torch.tensor([0.0, 5.0]))
        torch.testing.assert_close(kept, pictures[0], atol=2e-3, rtol=0)
        assert 0.05 < (rough - pictures[1]).abs().mean() < 0.5
    even = torch.full((1, 3, 32, 32), 0.4)
    # Even blocks stay even, each in a step of gray.
    assert compress(even, torch.tensor([5.0]))[0, 0, :8, :8].std() < 1e-6


def test_noise_has_the_deviation_that_was_drawn():
    drawn = draw_noises(200, 0.1, 16, rng())
    noisy = add_noise(torch.zeros(200, 3, 16, 16), drawn["noise_pictures"], drawn["noise_weights"])
    deviations = drawn["noise_weights"].norm(dim=1)
    torch.testing.assert_close(noisy.std(dim=(1, 2, 3)), deviations, atol=0.02, rtol=0)
    assert 0.3 < (deviations == 0).float().mean() < 0.7 and 0.09 < deviations.max() <= 0.1


def test_patches_hide_what_lies_in_them():
    boxes = torch.tensor([[[0.5, -0.5, 0.25, 0.25], [0.0, 0.0, -1.0, -1.0]]])
    hidden = hide(torch.zeros(1, 3, 16, 16), boxes, torch.tensor([[[1.0, 0.5, 0.25], [1.0, 1.0, 1.0]]]))
    expected = torch.zeros(1, 3, 16, 16)
    expected[0, :, 2:6, 10:14] = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    torch.testing.assert_close(hidden, expected)


def test_textures_differ_and_are_a_function_of_the_seed():
    ours, again = (random_textures(20, 32, rng(4)) for _ in range(2))
    assert torch.equal(ours, again) and ours.dtype == torch.uint8 and ours.shape == (20, 3, 32, 32)
    assert (
        ours.float().mean(dim=(1, 2, 3)).std() > 10 and (ours.float().std(dim=(2, 3)).mean(1) > 5).float().mean() > 0.8
    )


def test_photographs_of_a_folder_stand_behind_people(batch, tmp_path):
    from PIL import Image

    (tmp_path / "deeper").mkdir()
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("L", (40, 60), 0).save(tmp_path / "deeper" / "black.jpg")
    (tmp_path / "._red.png").write_bytes(b"Mac OS X")
    config = {**OFF, "augment_background": 1.0, "augment_background_folder": str(tmp_path)}
    backgrounds = make_backgrounds(config, torch.device("cpu"))
    photographs = backgrounds[256:].float().mean(dim=(2, 3))
    assert len(photographs) == 512 and sorted(set(photographs[:, 0].tolist())) == [0, 255]
    assert 200 < (photographs[:, 0] == 255).sum() < 312
    assert augment(batch, draw_augmentation(16, config, rng(), 4), config, backgrounds)["input_crop"].isfinite().all()


def test_no_more_than_two_photographs_are_in_memory(tmp_path, monkeypatch):
    import weakref

    from PIL import Image

    for number in range(6):
        Image.new("RGB", (60, 60), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    read, living = [], []

    def read_and_count(file):
        picture = read_picture(file)
        read.append(weakref.ref(picture))
        living.append(sum(reference() is not None for reference in read))
        return picture

    monkeypatch.setattr("utils.photographs.read_picture", read_and_count)
    config = {**OFF, "augment_background": 1.0, "augment_background_folder": str(tmp_path)}
    make_backgrounds(config, torch.device("cpu"))
    assert len(living) == 6 and max(living) <= 2


def test_a_quarter_of_the_new_backgrounds_shows_somebody_who_stands_aside():
    # The crops are gray with a white post in the middle; empty rooms are black, and textures white.
    crops = torch.full((16, 3, SIZE, SIZE), 0.5)
    crops[..., SIZE // 2 - 2 : SIZE // 2 + 2] = 1.0
    batch = {"img_crop": normalize_colors(crops), "bg_crop": normalize_colors(torch.zeros_like(crops))}
    white = torch.full((TEXTURES, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    sides = []
    for seed in range(20):
        drawn = draw_replacements(16, 1.0, False, rng(seed))
        seen = replace_backgrounds(crops, batch, drawn, white)[drawn["replaced"]].mean(1)
        rooms, textures = seen[4:8], seen[8:]
        assert rooms.abs().max() < 1e-6 and torch.allclose(textures, torch.ones(()))
        row = seen[:4, SIZE // 2]
        assert ((row > 0.49) & (row < 1.01)).all()
        # A post at the middle would hide behind the person in front.
        assert (row[:, SIZE // 2 - 1 : SIZE // 2 + 1] < 0.6).all()
        places = (row - 0.5).clamp(min=0) * torch.linspace(-1, 1, SIZE)
        sides += torch.sign(places.sum(1)).tolist()
    assert 20 < sides.count(1.0) < 60 and 20 < sides.count(-1.0) < 60


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("with_rooms", [True, False])
def test_fewer_than_four_new_backgrounds_are_textures(count, with_rooms):
    crops = torch.full((count, 3, SIZE, SIZE), 0.5)
    batch = {"img_crop": normalize_colors(crops)} | ({"bg_crop": normalize_colors(0 * crops)} if with_rooms else {})
    white = torch.full((TEXTURES, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    drawn = draw_replacements(count, 0.6, False, rng())
    seen = replace_backgrounds(crops, batch, drawn, white)
    new = torch.zeros(count, dtype=torch.bool).index_fill(0, drawn["replaced"], True)
    assert 1 <= new.sum() < 4 and torch.allclose(seen[new], torch.ones(())) and torch.equal(seen[~new], crops[~new])


def test_no_background_is_drawn_beyond_the_last(monkeypatch):
    def largest(*shape, generator):
        """The largest numbers that torch.rand gives, and the chance that takes photographs."""
        return torch.full(shape, 1 - 2.0**-24).index_fill(1, torch.tensor(1), 0.0)

    monkeypatch.setattr(torch, "rand", largest)
    assert (draw_replacements(16, 1.0, True, rng())["background"] == TEXTURES + PHOTOGRAPHS - 1).all()
    assert (draw_replacements(16, 1.0, False, rng())["background"] == TEXTURES - 1).all()


def test_what_is_missing_for_other_backgrounds_is_one_line(tmp_path):
    write_synthetic_layout(tmp_path / "set", size=SIZE, background=False, instants=2)
    config = tiny_config(tmp_path / "set", "", augment_background=0.5)
    with pytest.raises(UserError, match="neither masks nor backgrounds"):
        open_training_sets(config, ("img_crop",), labeled=True, masks=True)
    (tmp_path / "empty").mkdir()
    for folder, words in (("none", "does not exist"), ("empty", "has no pictures")):
        with pytest.raises(UserError, match=words):
            make_backgrounds({**config, "augment_background_folder": str(tmp_path / folder)}, torch.device("cpu"))
