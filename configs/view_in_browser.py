"""View a trained network in a browser, with people and cameras in 3D. Without arguments, view the packaged example.

python configs/view_in_browser.py [--scenes] [--config FILE ...] [--index N] [--host H] [--port P] [--device D]
                                  [--save-page FILE.html] [--images N]
                                  [network_path=RUN_FOLDER_OR_WEIGHTS] [key=value ...]

For example, one person, several people in full frames, and a page that needs no Python:

    python configs/view_in_browser.py
    python configs/view_in_browser.py --scenes network_path=output/latest
    python configs/view_in_browser.py --save-page people.html --images 3
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import check_tested, config_arguments
from utils.browser.server import HOST, PORT
from utils.errors import UserError, run_script

if TYPE_CHECKING:
    from training.trained.load import Trained
    from utils.browser.live import View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_scenes = "the network is one of several people in full frames"
    parser.add_argument("--scenes", action="store_true", help=help_scenes)
    parser.add_argument("--index", metavar="N", type=int, default=0, help="row of the first image in the test set")
    help_host = "address to listen at; 0.0.0.0 lets other machines look, too"
    parser.add_argument("--host", default=HOST, help=help_host)
    parser.add_argument("--port", metavar="P", type=int, default=PORT, help="port to listen at; 0 takes any free one")
    help_page = "write one page, which any browser opens without Python, and start no server"
    parser.add_argument("--save-page", metavar="FILE.html", help=help_page)
    help_images = "images in the page, each with a full rotation (default: 3, or all of fewer)"
    parser.add_argument("--images", metavar="N", type=int, help=help_images)


def main() -> None:
    # The method says which keys of the config there are, and which of them a command line may change.
    method = "detect_encode_decode" if "--scenes" in sys.argv else "encodeDecode"
    arguments, config, given = config_arguments(__doc__, f"config_test_{method}", extend=add_arguments)
    check_tested(arguments, config)
    from training.trained.load import open_network
    from utils.browser.server import check_page_path, require_viser

    require_viser()
    if arguments.save_page:
        check_page_path(arguments.save_page)
    view = open_view(open_network(config, given), arguments.scenes, arguments.index)
    images = min(3, len(view)) if arguments.images is None else arguments.images
    if not 1 <= images <= len(view):
        raise UserError(f"--images is {images}; expected 1 to {len(view)}")
    if arguments.save_page:
        from utils.browser.page import save_page

        save_page(arguments.save_page, view, images)
        print(f"written: {arguments.save_page}")
    else:
        show(view, arguments.host, arguments.port)


def open_view(trained: "Trained", scenes: bool, first: int) -> "View":
    """What to look at, beginning with row `first` of the test set."""
    from training.trained.load import open_test_data, open_test_frames
    from training.trained.scene_viewing import SceneView
    from training.trained.viewing import RotatedView, viewing_keys

    network, config, hardware, _ = trained
    if not scenes:
        return RotatedView(
            network, open_test_data(trained, viewing_keys(network), preload_images=False), hardware, first
        )
    trained = trained._replace(config={**config, "preload_images": False})
    return SceneView(network, open_test_frames(trained), hardware, first)


def show(view: "View", host: str, port: int) -> None:
    """Serve the viewer until the user interrupts it."""
    from utils.browser.live import BrowserViewer, run
    from utils.browser.server import server_at

    with server_at(host, port) as server:
        viewer = BrowserViewer(server, view)
        print(f"http://{host}:{server.get_port()}  (open it in a browser; Ctrl-C ends it)", flush=True)
        run(viewer)


if __name__ == "__main__":
    run_script(main)
