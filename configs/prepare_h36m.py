"""Convert Human3.6M, from its official download, to the training layout (docs/human36m.md).

Examples:
  python configs/prepare_h36m.py --source H36M --output data/train
  python configs/prepare_h36m.py --source H36M --output data/test --split test --statistics data/train
Interrupt it at any time; the same command resumes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import (
    add_layout_arguments,
    add_output_argument,
    add_subject_arguments,
    defaults_of,
    script_parser,
)
from utils.errors import run_script


def main() -> None:
    from datasets.sources.human36m.prepare import SPLITS, prepare_h36m
    from datasets.sources.human36m.report import report_text

    default, parser = defaults_of(prepare_h36m), script_parser(__doc__)
    help_source = "folder that holds S1, S5, ..., or the folder extracted, or the archives"
    parser.add_argument("--source", required=True, metavar="DIR", help=help_source)
    add_output_argument(parser)
    add_subject_arguments(parser, SPLITS)
    add_layout_arguments(parser, size=default["size"], every=default["every"])
    parser.add_argument("--metadata", metavar="FILE", help="metadata.xml, if it is not in the source")
    parser.add_argument("--skip-shifted", action="store_true", help="leave out the sequences of S9 with shifted poses")
    help_broken = "leave out videos that are missing or do not open, and what is behind the end or break of others"
    parser.add_argument("--skip-broken", action="store_true", help=help_broken)
    output = prepare_h36m(**vars(parser.parse_args()))
    print(report_text(output))
    print(f"prepared in {output}")


if __name__ == "__main__":
    run_script(main)
