"""Fast redrawing of the few artists of a figure that move, over a copy of all that stays."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure


class Blitting:
    """Redraws moving artists of `figure` alone. Artists are children of axes, not of the figure.

    Where the window cannot do so, everything is drawn each time. Keep a reference to it, as to matplotlib's widgets.
    """

    def __init__(self, figure: Figure):
        self.figure, self._moving, self._still = figure, [], None
        figure.canvas.mpl_connect("draw_event", self._drawn)

    def redraw_all(self, moving: Sequence[Artist]) -> None:
        """Draw the whole figure; from then on `redraw_moving` draws `moving` over the rest."""
        if self.figure.canvas.supports_blit:
            self._moving = sorted(moving, key=lambda artist: artist.zorder)
            for artist in self._moving:
                artist.set_animated(True)
        # The copy of before shows another image.
        self._still = None
        self.figure.canvas.draw_idle()

    def redraw_moving(self) -> None:
        """Draw the moving artists as they are now."""
        canvas = self.figure.canvas
        if self._still is None:
            canvas.draw_idle()
            return
        canvas.restore_region(self._still)
        self._draw_moving()
        canvas.blit(self.figure.bbox)

    def _drawn(self, event) -> None:
        # A figure that is written to a file is drawn with its moving artists, on a canvas of its own.
        if self._moving and not event.canvas.is_saving():
            self._still = event.canvas.copy_from_bbox(self.figure.bbox)
            self._draw_moving()

    def _draw_moving(self) -> None:
        for artist in self._moving:
            self.figure.draw_artist(artist)
