"""Checks a data set: annotations, files, and every image decoded; shows what it contains.

Run as `python -m src.data.validate --config_path=FILE [--report FILE]`, with any key of the
configuration as a flag. Errors, which would stop a training run, and repairs are listed; --report
writes all of them as JSON. <output_path>/data/ gets a picture of each split: objects per class,
their sizes against the anchors, and samples with their boxes.
"""

import sys
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from src.config.command_line import parse_with_report
from src.config.configuration import Config
from src.data.annotations import Annotations, what_is_lacking
from src.data.dataset import find_source
from src.data.image_files import find_images
from src.data.problems import Problem, Problems, first_lines
from src.data.split_chart import draw_summary
from src.data.summary import build_summary
from src.detection.anchors import build_anchors
from src.distributed.command import run_command
from src.runtime.errors import EXIT_BAD_INPUT, InputError
from src.runtime.files import make_output_folder, to_json, write_atomically
from src.runtime.text import count

PICTURE_DPI = 80  # of a figure of 16 x 20 inches


def check_images(annotations: Annotations, problems: Problems, *, workers: int) -> Annotations:
    """Decodes every image; an error for each that is missing, damaged or of another size.

    Returns the annotations with the images' names on disk.

    Decoding runs in parallel in threads, so processes would be no faster.
    """

    def message(index: int) -> str | None:
        try:
            annotations[index].read()
        except InputError as error:
            return str(error)
        return None

    annotations, missing = find_images(annotations, problems)
    there = [index for index in range(len(annotations)) if index not in missing]
    with ThreadPool(max(workers, 1)) as pool:
        messages = pool.imap(message, there, chunksize=8)
        bar = tqdm(messages, total=len(there), desc="images", unit="", disable=None)
        for index, text in zip(there, bar):
            if text is not None:
                problems.error(annotations.where(index), text)
    return annotations


def report(problems: Problems) -> Iterator[str]:
    """Lines that name the first errors and repairs and count all of them."""
    for kind, found in (("error", problems.errors), ("repair", problems.repairs)):
        yield f"{count(len(found), kind)}" + (":" if found else "")
        yield from (f"  {line}" for line in first_lines(found))


def validate_split(cfg: Config, *, training: bool) -> Problems:
    """Checks a split, prints what was found and draws its summary; returns the problems."""
    source = find_source(cfg, training=training)
    role = "training" if training else "evaluation"
    print(f"--- {role}: {source.path}", flush=True)
    try:
        annotations, problems = source.read()
    except InputError as error:
        print(f"1 error:\n  {error}")
        return Problems(source.path, errors=[Problem("file", str(error))])
    annotations = check_images(annotations, problems, workers=cfg.num_workers)
    reason = what_is_lacking(annotations, training=training)
    if reason and not problems.errors:
        problems.error("file", reason)
    print("\n".join(report(problems)))
    if len(annotations):
        show_summary(cfg, annotations, role)
    return problems


def show_summary(cfg: Config, annotations: Annotations, role: str) -> None:
    """Prints a summary of the split, and draws it to <output_path>/data/<role>.png."""
    summary = build_summary(cfg, annotations, build_anchors(cfg))
    print(annotations.summary().partition("\n")[0])
    print(f"{summary.table()}\n{summary.match_line()}")
    path = make_output_folder(str(Path(cfg.output_path) / "data")) / f"{role}.png"
    draw_summary(summary).savefig(path, dpi=PICTURE_DPI)
    print(f"picture: {path}")


def main(argv=None) -> None:
    cfg, report = parse_with_report(__doc__, argv, prog="python3 -m src.data.validate")
    if report:
        make_output_folder(str(report.parent), "report")
    make_output_folder(cfg.output_path)
    roles = [True, False] if cfg.eval_interval else [True]
    for training in roles:  # reports a wrong path before minutes of decoding
        find_source(cfg, training=training)
    found = [validate_split(cfg, training=training) for training in roles]
    if report:
        write_atomically(report, to_json([problems.to_dict() for problems in found]) + "\n")
        print(f"all of them: {report}")
    errors = sum(len(problems.errors) for problems in found)
    if errors:
        print(f"not fit for training: {count(errors, 'error')}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    print("fit for training")


if __name__ == "__main__":
    run_command(main)
