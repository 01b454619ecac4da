"""What turns a viewer's panels and changes their image: buttons, a slider in degrees, and keys."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.artist import Artist
from matplotlib.widgets import Button, Slider

if TYPE_CHECKING:
    from utils.viewer import RotatingPanels

FULL_TURN = 360  # degrees; the slider goes so far to either side, so that no side of a person is at its end
KEY_STEP = 5  # degrees of an arrow key
PLAY_STEP = 2  # degrees between the pictures of a rotation that plays
PLAY_PAUSE = 10  # milliseconds between them, besides the time that drawing takes
KEYS_TEXT = "keys: left and right turn, up and down change the image, space plays and pauses"
# Settings of matplotlib: arrow keys are ours, not those of the toolbar's views, and the mouse never tilts skeletons.
WINDOW_SETTINGS = {"keymap.back": [], "keymap.forward": [], "axes3d.mouserotationstyle": "azel"}


class Controls:
    """Buttons, slider and keys of `panels`, at the bottom of their figure."""

    def __init__(self, panels: "RotatingPanels"):
        self.panels, self.playing = panels, False
        figure = panels.figure
        self.previous = Button(figure.add_axes((0.02, 0.05, 0.08, 0.09)), "Previous")
        self.next = Button(figure.add_axes((0.11, 0.05, 0.08, 0.09)), "Next")
        self.previous.on_clicked(panels.previous_image)
        self.next.on_clicked(panels.next_image)
        slider_axes = figure.add_axes((0.26, 0.05, 0.66, 0.09))
        self.slider = Slider(slider_axes, "Yaw ", -FULL_TURN, FULL_TURN, valinit=0.0, valfmt="%+.0f°")
        # The slider moves with the panels, and is drawn with them.
        self.slider.drawon = False
        self.slider.on_changed(lambda degrees: panels.set_yaw(np.deg2rad(degrees)))
        figure.text(0.59, 0.015, KEYS_TEXT, ha="center", va="bottom", color="0.45", size="small")
        self._keys = {
            "left": lambda: self.turn(-KEY_STEP),
            "right": lambda: self.turn(KEY_STEP),
            "up": panels.previous_image,
            "pageup": panels.previous_image,
            "down": panels.next_image,
            "pagedown": panels.next_image,
            " ": self.play_or_pause,
        }
        self._timer = figure.canvas.new_timer(PLAY_PAUSE, [(self.turn, (PLAY_STEP,), {})])
        figure.canvas.mpl_connect("key_press_event", self._press)
        # A timer that outlives its window fails.
        figure.canvas.mpl_connect("close_event", lambda _event: self._timer.stop())

    def turn(self, degrees: float) -> None:
        """Move the slider by `degrees`, past an end to the same view on the other side."""
        value = self.slider.val + degrees
        if abs(value) > FULL_TURN:
            value -= np.sign(value) * FULL_TURN
        self.slider.set_val(value)

    def play_or_pause(self) -> None:
        """Begin to rotate without end, or stop it."""
        self.playing = not self.playing
        (self._timer.start if self.playing else self._timer.stop)()

    def moving_artists(self) -> list[Artist]:
        """What moves with the yaw."""
        return [*self.slider.ax.patches, *self.slider.ax.lines, *self.slider.ax.texts]

    def _press(self, event) -> None:
        if event.key in self._keys:
            self._keys[event.key]()
