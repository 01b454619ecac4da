"""Stage 1, novel views from multi-view images: the published hyper-parameters.

Every key of the project stands here once, with its default and its meaning (the few keys that only
stage 2 knows are in config_train_encodeDecode_pose.py). A config file of your own may leave keys
out; any key can be changed on the command line: `python configs/train_encodeDecode.py latent_fg=64`.
"""

from utils.paths import WORK

config_dict = {
    # ---- data: folders in the training layout (README, "Data layout")
    "dataset_folder_train": str(WORK / "data" / "train"),  # subjects that are trained on
    "dataset_folder_test": str(WORK / "data" / "test"),  # subjects that only evaluation sees
    "training_set": "h36m",  # a name of your own for the set; part of the run folder's name
    "actor_subset": [1, 5, 6, 7, 8],  # training subjects; None: all that are there
    "useCamBatches": 2,  # crops of one instant, from different cameras, that stand together in a batch
    "useSubjectBatches": True,  # pair each instant with another of the same sequence, for the appearance
    "every_nth_frame": 1,  # thin the instants of an epoch
    "validation_fraction": 0.1,  # of the training sequences, held out whole to choose the best network
    "validation_crops": 2048,  # at most so many held-out crops are looked at in one evaluation
    "batch_size_train": 32,  # crops; 16 for the U-Net encoder
    "batch_size_test": 32,
    "num_workers": 2,  # processes that read crops
    "preload_images": False,  # hold the whole set in memory; for sets that fit
    "crops_on_device": "auto",  # packed or preloaded crops on the GPU: "auto" (where they fit), "always", "never"
    # ---- network
    "encoderType": "ResNet",  # "ResNet" (published, ResNet-50), "UNet" (ablation), "ResNet18" (small)
    "encoder_weights": "imagenet",  # "imagenet" (downloaded by torchvision), a file, or None (random)
    "freeze_encoder_stem": True,  # do not train the stem, layer1 and layer2; False when encoder_weights is None
    "encoder_width": 64,  # channels of the first layer of "ResNet18"; torchvision's has 64
    "encoder_max_pool": True,  # of "ResNet18", as torchvision's; False: its last map is twice as fine
    "inputDimension": 128,  # side of the crops, pixels
    "sigmoid_bottleneck": True,  # of "ResNet": 128 sigmoids before the latents (published); False: its whole last map
    "num_encoding_layers": 4,  # depth of the U-Net encoder
    "feature_scale": 2,  # divides the widths of the U-Net encoder and of the image decoder
    "latent_fg": 128,  # length of the appearance vector; 0: no appearance
    "latent_3d": 600,  # three times the number of 3D points
    "latent_dropout": 0.3,  # after the first layer of the decoder (and of the U-Net's latents)
    "shuffle_fg": True,  # take the appearance from another instant
    "shuffle_3d": True,  # take the 3D points from another camera
    "target_other_view": False,  # always paint another camera; the published shuffle keeps half of them
    "implicit_rotation": False,  # ablation: learn the rotation instead of applying it
    "skip_background": True,  # give the decoder the background of the target camera
    "add_background": False,  # paint the difference to that background instead of the whole crop
    "color_by_appearance": False,  # the last features are layers; the appearance gives each of them its color
    "upsampling_bilinear": True,  # False: transposed convolutions
    "n_hidden_to3Dpose": 2,  # hidden layers of the pose decoder: 0, 1 or 2
    "width_to3Dpose": 2048,  # of its hidden layers
    "dropout_to3Dpose": 0.5,  # after each of its two hidden layers; with fewer there is none
    "output_types": ["img_crop"],  # what the network returns; see models/geometry_aware/network.py
    # ---- loss
    "MAE": True,  # absolute differences; False: squared
    "loss_weight_rgb": 1.0,  # pixels
    "loss_weight_gradient": 0.0,  # Sobel gradients
    "loss_weight_imageNet": 2.0,  # features of a fixed ResNet-18
    "perceptual_weights": "imagenet",  # of the fixed ResNet-18: "imagenet", a file, or None (random)
    # ---- schedule
    "num_training_iterations": 400_000,
    "optimizer": "adam",  # "adam" (published), "muon" (convolutions by Muon, the rest by Adam; training/loop/muon.py)
    "learning_rate": 1e-3,  # of the optimizer
    "learning_rate_schedule": "constant",  # "constant" (published) or "cosine" (short warm-up, falls to zero)
    "weight_decay": 0.0,  # decoupled, as in AdamW; 0: published
    "augment_mirror": False,  # half of the pairs of instants (stage 1) or labels, at random, as in a mirror
    "augment_rotation": 0.0,  # degrees by which crops and cameras turn at random about the viewing axis; 0: published
    "augment_color": 0.0,  # strength of a random colour change, one per pair of instants; 0: published
    "print_every": 100,  # iterations between lines of the training log
    "test_every": 5000,  # iterations between evaluations on the held-out crops, and between checkpoints
    "plot_every": 5000,  # iterations between example pictures; also at 0 and 100
    # ---- machine
    "device": "auto",  # "auto", "cpu", "cuda", "cuda:1", "mps"
    "precision": "auto",  # "auto" (bfloat16 where the hardware has it), "bfloat16", "float32"
    "compile": "auto",  # torch.compile of stage 1's steps: "auto" (on one CUDA GPU), "always", "never"
    "seed": 0,
    "output_folder": str(WORK / "output"),
    "visdom": True,  # send curves to a visdom server at localhost:8097 when there is one
}

# Keys that may be None, and their type otherwise.
optional_keys = {
    "actor_subset": list,
    "encoder_weights": str,
    "perceptual_weights": str,
    "label_subjects": list,
    "network_path": str,
}
