"""Stage 1 of several people in full frames, novel views from multi-view frames: the published hyper-parameters.

They are the defaults of the table of keys (utils/scene_keys.py), which says what each key means.
"""

from utils.keys import defaults
from utils.scene_keys import SCENE_STAGE1_KEYS

config_dict = defaults(SCENE_STAGE1_KEYS)
