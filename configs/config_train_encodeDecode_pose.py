"""Stage 2, 3D pose from few labels on the features of stage 1: what changes against stage 1."""

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode import optional_keys  # noqa: F401

config_dict = {
    **stage1,
    "network_path": None,  # the run folder (or weights file) of stage 1; None: a new network
    "label_subjects": [1],  # subjects whose labels are used; None: all of actor_subset
    "label_fraction": 1.0,  # of their crops that are labelled, chosen at random; some of them validate
    "freeze_encoder": True,  # False: the encoder is trained too (with network_path None: plain supervision)
    "augment_yaw": 0.0,  # degrees by which frozen points and their labels turn at random together; 0: published
    "augment_points": 0.0,  # noise on frozen points, in standard deviations of a crop's coordinates; 0: published
    "flip_test": False,  # in tests, poses are the mean of those of a crop and of its mirror image; False: published
    "pose_variance_floor": 0.0,  # least running variance of the pose decoder's batch norm; 0: published
    "output_types": ["3D"],
    "shuffle_fg": False,
    "shuffle_3d": False,
    "latent_dropout": 0.0,
    "batch_size_train": 32,
    "num_training_iterations": 100_000,
    "test_every": 1000,
}
