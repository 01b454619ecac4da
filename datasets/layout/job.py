"""The folder that a prepare or render script writes to: claimed by the options of the job, with its report."""

import json
import shutil
from pathlib import Path

from datasets.layout.labels import PARTS_FOLDER, STATISTIC_KEYS, Labels, fingerprint, is_finished
from utils.errors import UserError
from utils.files import is_part, remove_dead_parts, write_text
from utils.locks import LOCK_FILE
from utils.readers import read_json, read_text

REPORT_FILE = "report.txt"
DETAILS = "details"


def claim_folder(output: Path, file: str, job: dict, statistics: str | Path | None = None) -> bool:
    """Mark a folder as this job's, by `file` in it. Returns whether the layout in it is finished.

    job: the options that decide what is written, in types that JSON has. Where "files" is a checksum of several things,
    `DETAILS` may be what tells these apart: it decides nothing, but messages name what differs in it. statistics: a
    layout whose statistics of poses the set takes over. Raises UserError where the folder holds something else. What a
    killed call has left is removed.
    """
    job = _with_statistics(job, statistics)
    remove_dead_parts(output)
    if is_claimed(output, file, job):
        if finished := is_finished(output):
            # Left by a call that was killed between its last two steps.
            shutil.rmtree(output / PARTS_FOLDER, ignore_errors=True)
        return finished
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / file, json.dumps(job))
    return False


def holds_set(output: Path, file: str, job: dict, statistics: str | Path | None = None) -> bool:
    """What `claim_folder` would return or raise, to be asked before a source is read; changes nothing."""
    return is_claimed(output, file, _with_statistics(job, statistics)) and is_finished(output)


def is_claimed(output: Path, file: str, job: dict) -> bool:
    """Whether a folder is marked as this job's, as `claim_folder` does. UserError where it holds something else."""
    mark = output / file
    if mark.exists():
        held = read_json(mark, dict)
        # JSON turns tuples into lists: what was asked must go the same way before the two are compared.
        asked = json.loads(json.dumps(job))
        # Marks of before have no details.
        held_details, asked_details = held.pop(DETAILS, None), asked.pop(DETAILS, None)
        if held != asked:
            if isinstance(held_details, dict) and asked_details and held_details != asked_details:
                held, asked = {**held, **held_details}, {**asked, **asked_details}
                del held["files"], asked["files"]
            # A job has a dozen options; the message names only those that differ.
            differ = [key for key in {**held, **asked} if held.get(key) != asked.get(key)]
            held, asked = ({key: side.get(key) for key in differ} for side in (held, asked))
            raise UserError(f"{output} holds a set of {held}; expected {asked}, or an empty folder")
        return True
    if output.is_dir() and any(path.name != LOCK_FILE and not is_part(path) for path in output.iterdir()):
        raise UserError(f"{output} holds other files; expected an empty or new folder, or this set unfinished")
    return False


def _with_statistics(job: dict, statistics: str | Path | None) -> dict:
    return job if statistics is None else {**job, "statistics": fingerprint(Labels(statistics), STATISTIC_KEYS)}


def write_text_report(output: Path, report: str) -> None:
    """Write `report.txt` to the folder of a set."""
    write_text(output / REPORT_FILE, report)


def read_text_report(output: Path) -> str:
    """`report.txt` of a finished set."""
    return read_text(output / REPORT_FILE, "the report of a set; remove its folder to make it again")
