"""Networks on the Hugging Face Hub: downloaded, saved and published as safetensors, never as pickles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.config_test_encodeDecode import config_dict
from geometry_aware_pose.hub import PACKAGED_WEIGHTS, WEIGHTS_FILE, check_name, weights_path
from models import EncodeDecode, save_weights
from training.trained.export import shared_config
from training.trained.load import open_network
from utils.commands import install_extra
from utils.config import write_config
from utils.errors import UserError
from utils.readers import read_text, reason

try:
    from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
except ImportError as error:
    raise UserError(f"the Hugging Face Hub needs the package huggingface_hub: {install_extra('hub')}") from error

_SHOWN = ("encoderType", "inputDimension", "latent_fg", "latent_3d", "output_types", "num_training_iterations")
_CARD = """
# {name}

From a crop of one person, this network computes an appearance vector and 3D points{what}.
It was trained by an independent implementation of Rhodin, Salzmann, Fua, *Unsupervised Geometry-Aware Representation
for 3D Human Pose Estimation*, ECCV 2018 ([arXiv 1804.01110](https://arxiv.org/abs/1804.01110)).

```python
from geometry_aware_pose import PretrainedNetwork, pose_from_crop  # pip install "geometry-aware-pose[hub]"

network = PretrainedNetwork.from_pretrained("OWNER/NAME")  # the name of this repository
poses = pose_from_crop("hf://OWNER/NAME")("crop.png")  # (1,17,3), meters, where poses were trained
```

A crop is square, 2 m wide at the person's distance, with the hip in its middle. Its config:

| key | value |
| --- | --- |
{rows}

The other keys are in config.json.

## Intended use and limitations

For research on representations and poses. Its errors on people, cameras and rooms unlike those of its training are
unknown: measure them before use, and do not base decisions about a person on its output.
"""


class PretrainedNetwork(
    EncodeDecode,
    PyTorchModelHubMixin,
    library_name="geometry-aware-pose",
    tags=["3d-human-pose", "novel-view-synthesis"],
):
    """`EncodeDecode` with `from_pretrained`, `save_pretrained` and `push_to_hub`, on the CPU, float32, in eval mode.

    `config` is that of its training, without the folders of the machine where it trained. A saved folder has
    `model.safetensors`, which is a file of weights as any other (`network_path=`), `config.json` and a model card.
    """

    card: str | None = None  # in place of a card made of its config

    def __init__(self, config: Mapping[str, Any], load: bool = True):
        super().__init__(config, load)
        self.config = dict(config)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> PretrainedNetwork:
        """The network in a folder (saved, or of a run) or a file, "benchmark64", "wild128", or "OWNER/NAME" on the Hub.

        options: of huggingface_hub, such as `revision`, `cache_dir`, `token` and `local_files_only`. UserError for
        what is not there, for published weights, and where the Hub does not answer.
        """
        return cls._opened(weights_file_of(name, **options))

    @classmethod
    def _opened(cls, path: str) -> PretrainedNetwork:
        trained = open_network({**config_dict, "device": "cpu", "precision": "float32", "network_path": path})
        network = cls(shared_config(trained), load=False)
        network.trust, network.output_types = trained.network.trust, trained.network.output_types
        network.load_state_dict(trained.network.state_dict())
        if path in map(weights_path, PACKAGED_WEIGHTS):
            # Its links lead into the repository, which a card on the Hub is not part of.
            card = Path(path).with_name("README.md").read_text(encoding="utf-8")
            network.card = re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", card)
        return network.eval()

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the network into a folder, which is made if it is missing. options: of huggingface_hub.

        UserError where a file is in the place of the folder, and for a folder with another model card, which
        huggingface_hub would leave beside these weights.
        """
        check_name("the folder to save in", save_directory)
        card = Path(save_directory) / "README.md"
        own = self.generate_model_card(**(options.get("model_card_kwargs") or {})).content
        if card.exists() and read_text(card, "a model card in UTF-8") != own:
            raise UserError(f"{str(card)!r} is not the model card of this network; expected a folder without README.md")
        try:
            return super().save_pretrained(save_directory, **options)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"cannot save in {str(save_directory)!r} ({reason(error)}); expected a folder") from error

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(save_directory / WEIGHTS_FILE, self, self.config)
        # The Hub counts downloads of this file, and shows it.
        write_config(save_directory / "config.json", self.config)

    def generate_model_card(self, name: str = "Geometry-aware pose", **_: Any) -> ModelCard:
        """Our own card, with the metadata that the Hub reads in front."""
        trained = {"img_crop": ", renders other views of the person", "3D": ", estimates the 3D positions of 17 joints"}
        what = "".join(text for output, text in trained.items() if output in self.output_types)
        rows = "\n".join(f"| `{key}` | {self.config[key]} |" for key in _SHOWN if key in self.config)
        text = self.card or _CARD.format(name=name, what=what, rows=rows)
        return ModelCard(f"---\n{self._hub_mixin_info.model_card_data.to_yaml()}\n---\n\n{text.strip()}\n")


def weights_file_of(name: str | Path, **options: Any) -> str:
    """The path of the weights that `name` means, as `PretrainedNetwork.from_pretrained`; downloaded if need be."""
    check_name("the name of a network", name)
    if name in PACKAGED_WEIGHTS or Path(name).expanduser().exists():
        return weights_path(name)
    if name == "published":
        raise UserError(
            "the name of a network is 'published', whose file has no config; expected a network trained here "
            "(encode_decode opens both)"
        )
    try:
        # Repositories with pickles alone are refused: no other file is asked for.
        return hf_hub_download(str(name).removeprefix("hf://"), WEIGHTS_FILE, **options)
    # Networks fail in many ways, and each version of the library has its own errors for them.
    except Exception as error:
        expected = f"a folder, {', '.join(map(repr, PACKAGED_WEIGHTS))}, or a repository with {WEIGHTS_FILE} on the Hub"
        raise UserError(f"no network {str(name)!r} ({reason(error)}); expected {expected}") from error
