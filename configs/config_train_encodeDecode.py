"""Stage 1, novel views from multi-view images: the published hyper-parameters.

They are the defaults of the table of keys (utils/keys.py), which says what each key means; `--keys` prints it. A config
file of your own may leave keys out, and any key can be changed on the command line:
`python configs/train_encodeDecode.py latent_fg=64`.
"""

from utils.keys import STAGE1_KEYS, defaults

config_dict = defaults(STAGE1_KEYS)
