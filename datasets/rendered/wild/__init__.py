"""Many people in many rooms before many cameras: a world wide enough for pictures of real people."""
