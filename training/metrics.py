"""Pose errors and image similarity.

Every function returns one value per pose or crop, so that callers can average over a subject, a motion or everything.
Poses are (...,17,3) or (...,51), in any frame and unit, root-centered where the protocol asks for it; an error has the
unit of the poses.
"""

import torch

from utils.errors import UserError
from utils.skeleton import NUM_JOINTS

# The published figures average over the 16 joints that can be wrong, because the error of the root is always zero.
PUBLISHED_FACTOR = NUM_JOINTS / (NUM_JOINTS - 1)

# Video compression changes a background by less than 5 % of the color range in each channel.
FOREGROUND_THRESHOLD = 0.05


def mpjpe(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean per-joint position error: mean Euclidean distance over the 17 joints -> (...)."""
    predicted, target = _joints(predicted), _joints(target)
    return (predicted - target).norm(dim=-1).mean(-1)


def n_mpjpe(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """MPJPE after the least-squares scale of each frame, s = <p,t>/<p,p>, over all 17 joints -> (...)."""
    predicted, target = _joints(predicted), _joints(target)
    return mpjpe(scaled_to(predicted, target), target)


def scaled_to(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`predicted` (...,17,3) times the least-squares scale of each frame to `target`."""
    # A prediction of all zeros has no scale, and stays zero.
    tiny = torch.finfo(predicted.dtype).tiny
    scale = (predicted * target).sum((-2, -1)) / predicted.square().sum((-2, -1)).clamp_min(tiny)
    return scale[..., None, None] * predicted


def n_pck(predicted: torch.Tensor, target: torch.Tensor, limit: float) -> torch.Tensor:
    """Fraction of joints within `limit` of the target after the scale of `n_mpjpe` -> (...)."""
    predicted, target = _joints(predicted), _joints(target)
    return ((scaled_to(predicted, target) - target).norm(dim=-1) <= limit).to(predicted.dtype).mean(-1)


def published_n_mpjpe(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """N-MPJPE as the paper reports it: the mean over 16 joints, without the root (17/16 of `n_mpjpe`) -> (...)."""
    return PUBLISHED_FACTOR * n_mpjpe(predicted, target)


def p_mpjpe(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """MPJPE after the best similarity of each frame (rotation without reflection, translation, scale) -> (...).

    Also known as PA-MPJPE and as protocol 2; computed in float64.
    """
    # Imported here, because it imports torch's compiler, which takes a second and 100 MiB.
    import roma

    predicted, target = _joints(predicted).double(), _joints(target).double()
    rotation, _, scale = roma.rigid_points_registration(predicted, target, compute_scaling=True)
    # With all joints in one point, there is nothing to scale.
    scale = scale.nan_to_num(0.0)
    centered, centered_target = (pose - pose.mean(-2, keepdim=True) for pose in (predicted, target))
    return mpjpe(scale[..., None, None] * centered @ rotation.mT, centered_target)


def psnr(output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of crops (B,3,R,R) with colors in 0..1 -> (B,).

    `mask` (B,R,R), bool, restricts it to some pixels; a crop without any gives NaN. As in `ignite.metrics.PSNR`, 1e-10
    is added to the mean squared error: equal images give 100 dB.
    """
    error = (output.double() - target.double()).square().mean(1)
    mean = error.mean((-2, -1)) if mask is None else (error * mask).sum((-2, -1)) / mask.sum((-2, -1))
    return -10 * torch.log10(mean + 1e-10)


def ssim(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity of crops (B,3,R,R) in 0..1 -> (B,), by a Gaussian window of 11 px, sigma 1.5.

    Equals `ignite.metrics.SSIM` (reflected borders; mean over pixels and channels), which gives one mean over all crops
    and takes several times as long. Source: Wang et al., 2004.
    """
    with torch.autocast(target.device.type, enabled=False):
        blur = _blur_matrix(target.shape[-1], target.device)
        # A few crops at a time stay in a CPU's cache.
        pairs = zip(output.float().split(4), target.float().split(4), strict=True)
        return torch.cat([_structural_similarity(first, second, blur) for first, second in pairs])


def _structural_similarity(first: torch.Tensor, second: torch.Tensor, blur: torch.Tensor) -> torch.Tensor:
    """SSIM (B,) of images (B,C,R,R) whose local means are `blur.T @ image @ blur`."""

    def local_mean(image: torch.Tensor) -> torch.Tensor:
        return blur.T @ image @ blur

    mean, other_mean = local_mean(first), local_mean(second)
    product, squares = mean * other_mean, mean.square() + other_mean.square()
    covariance = local_mean(first * second) - product
    variances = local_mean(first.square() + second.square()) - squares
    # The paper's constants, for colors in 0..1.
    luminance, structure = 0.01**2, 0.03**2
    similarity = (2 * product + luminance) * (2 * covariance + structure)
    return (similarity / ((squares + luminance) * (variances + structure))).mean((1, 2, 3))


def _blur_matrix(size: int, device: torch.device) -> torch.Tensor:
    """Matrix (R,R): `rows @ matrix` is each row, reflected at its ends, blurred by a Gaussian of 11 px, sigma 1.5."""
    window = torch.exp(-0.5 * (torch.arange(-5.0, 6.0, device=device) / 1.5).square())
    units = torch.nn.functional.pad(torch.eye(size, device=device), (5, 5), mode="reflect")
    return units.unfold(1, 11, 1) @ (window / window.sum())


def foreground_mask(image: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Pixels of crops (B,3,R,R) in 0..1 where the image differs from its background -> (B,R,R) bool."""
    return (image - background).abs().amax(1) > FOREGROUND_THRESHOLD


def _joints(pose: torch.Tensor) -> torch.Tensor:
    if pose.shape[-2:] == (NUM_JOINTS, 3):
        return pose
    if pose.shape[-1:] == (3 * NUM_JOINTS,):
        return pose.unflatten(-1, (NUM_JOINTS, 3))
    raise UserError(f"a pose has shape {tuple(pose.shape)}; expected (...,{NUM_JOINTS},3) or (...,{3 * NUM_JOINTS})")
