"""Checks a data set: annotations, files, and every image decoded; shows what it contains.

Run as `python -m src.data.validate --config_path=FILE [--report FILE]`, with any key of the
configuration as a flag. Errors, which would stop a training run, and repairs are listed; --report
writes all of them as JSON. <output_path>/data/report.html is a page with all of that in pictures:
what is suspicious, samples as the network sees them, objects per class, sizes against the anchors.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from src.config.command_line import parse_with_report
from src.config.configuration import Config
from src.config.consistency import least_batch
from src.data.annotations import Annotations, what_is_lacking, without_empty
from src.data.classes import with_classes
from src.data.dataset import find_source
from src.data.decoding import check_images, check_sizes
from src.data.hold_out import describe
from src.data.page.findings import SplitFindings
from src.data.page.page import write_page
from src.data.problems import Problem, Problems, alike, first_lines
from src.data.sampling import describe_class_repeats, describe_repeats, images_per_epoch
from src.data.signs.classes import absent_class
from src.data.signs.contents import equal_images, leaked_images, similar_images
from src.data.signs.pixels import pixel_range
from src.data.signs.sign import Sign, check_accept, those_found
from src.data.signs.sizes import size_sign
from src.data.signs.stages import cheap_signs
from src.data.signs.strengths import idle_strengths
from src.data.summary import build_summary
from src.detection.anchors import build_anchors
from src.distributed.command import run_command
from src.runtime.console import say
from src.runtime.errors import EXIT_BAD_INPUT, InputError
from src.runtime.files import check_output_file, make_output_folder, to_json, write_atomically
from src.runtime.text import count, printable_lines

PARTS = ("training", "evaluation", "both")  # of a report


def report(problems: Problems) -> Iterator[str]:
    """Lines that name the first errors, repairs and warnings and count all of them."""
    kinds = [("error", problems.errors), ("repair", problems.repairs)]
    for kind, found in [*kinds, ("warning", problems.warnings)]:
        yield f"{count(len(found), kind)}" + (":" if found else "")
        yield from (f"  {line}" for line in first_lines(found))


def validate_split(cfg: Config, *, training: bool) -> SplitFindings:
    """Checks a split, prints what was found, and a summary."""
    source = find_source(cfg, training=training)
    role = "training" if training else "evaluation"
    print(f"--- {role}: {source.path}", flush=True)
    try:
        annotations, problems = source.read()
    except InputError as error:
        print(printable_lines(f"1 error:\n  {error}"))
        return SplitFindings(role, Problems(source.path, errors=[Problem("file", str(error))]))
    lacks = what_is_lacking(annotations, training=training)
    if training and not cfg.keep_empty:
        annotations = without_empty(annotations)
    annotations, decoded = check_images(
        annotations, problems, source.search(), workers=cfg.num_workers
    )
    signs = cheap_signs(cfg, annotations, training=training, headers=None)
    signs += those_found(pixel_range(annotations, decoded.levels), equal_images(annotations))
    problems.judge(signs, cfg.accept)
    turned = any(problem.where == "turned" for problem in problems.errors)
    check_sizes(annotations, problems, decoded.sizes, turned=turned)
    if lacks and not problems.errors:
        problems.error(annotations.source.name, lacks)
    summary = None
    if len(annotations):
        summary = build_summary(cfg, annotations, build_anchors(cfg))
        if not problems.errors:  # which tiny boxes may follow from
            problems.judge([size_sign(summary)], cfg.accept)
    if training:
        problems.judge(idle_strengths(cfg), cfg.accept)
    print("\n".join(report(problems)))
    if summary is not None:
        print(annotations.summary().partition("\n")[0])
        print(f"{summary.table()}\n{summary.match_line()}")
        if training and cfg.repeat_threshold:
            print(describe_repeats(annotations, cfg.repeat_threshold))
            print(describe_class_repeats(annotations, summary.names, cfg.repeat_threshold))
    return SplitFindings(role, problems, annotations, summary, decoded)


def compare_splits(cfg: Config, *splits: SplitFindings) -> Problems:
    """Checks the splits, to train and to evaluate on, against each other; prints what was found."""
    training, evaluation = (split.annotations for split in splits)
    problems = Problems(evaluation.source)
    alike = similar_images(*(split.decoded for split in splits))
    leak = leaked_images(training, evaluation, alike)
    absent = absent_class(training, evaluation, cfg.classes[1:])
    problems.judge([leak, absent], cfg.accept)
    if problems.warnings:
        print("--- training and evaluation")
        print("\n".join(f"warning: {sign}" for sign in problems.warnings))
    return problems


def verdict(cfg: Config, training: Annotations, warnings: list[Sign]) -> str:
    """The last line of a data set without errors; InputError if no batch fits."""
    text = "fit for training"
    images = images_per_epoch(training, cfg.repeat_threshold)
    batches = cfg.accumulate * max(cfg.device_num, 1)  # of an update
    if images < least_batch(cfg) * batches:
        too_few = (
            f"{count(images, 'image')}, fewer than the {least_batch(cfg) * batches} of an update"
        )
        if images < batches:
            raise InputError(f"not {text}: {too_few}; use a smaller --accumulate or more images")
        text += f" with --batch_size={images // batches} at most ({too_few})"
    return text + counted_warnings(warnings)


def counted_warnings(warnings: list[Sign]) -> str:
    """What the last line says of warnings: ", 2 warnings: leak, areas"; empty without any."""
    if not warnings:
        return ""
    names = ", ".join(dict.fromkeys(sign.name for sign in warnings))
    return f", {count(len(warnings), 'warning')}: {names}"


def main(argv=None) -> None:
    cfg, report = parse_with_report(
        __doc__, argv, prog="python3 -m src.data.validate", program="validate"
    )
    check_accept(cfg.accept)
    if report is not None:
        check_output_file(report, "report")
    make_output_folder(cfg.output_path)
    roles = [True, False] if cfg.eval_interval else [True]
    for training in roles:  # reports a wrong path before minutes of decoding
        find_source(cfg, training=training)
    cfg = with_classes(cfg)
    splits = [validate_split(cfg, training=training) for training in roles]
    found = [split.problems for split in splits]
    if len(splits) == 2 and None not in [split.annotations for split in splits]:
        if cfg.val_share and any(len(one.annotations) for one in splits):
            print(describe(*(one.annotations for one in splits), cfg.classes, cfg.val_share))
        found.append(compare_splits(cfg, *splits))
    if report:
        named = [{"split": name, **one.to_dict()} for name, one in zip(PARTS, found)]
        write_atomically(report, to_json(named) + "\n")
        print(f"all of them: {report}")
    for both in found[len(splits) :]:  # the page shows them with the training split
        splits[0].problems.signs.extend(both.signs)
    end_with_page(cfg, splits)


def end_with_page(cfg: Config, splits: list[SplitFindings]) -> None:
    """Writes the page and prints the verdict; ends with EXIT_BAD_INPUT where there are errors."""
    folder = make_output_folder(str(Path(cfg.output_path) / "data"))
    found = [split.problems for split in splits]
    errors = sum(len(problems.errors) for problems in found)
    warnings = [sign for problems in found for sign in problems.warnings]
    kinds = sum(len(alike(problems.errors)) for problems in found)
    number = count(errors, "error") + (f" of {count(kinds, 'kind')}" if kinds < errors else "")
    text, refusal = f"not fit for training: {number}{counted_warnings(warnings)}", None
    if not errors:
        try:
            text = verdict(cfg, splits[0].annotations, warnings)
        except InputError as error:
            text, refusal = str(error), error
    print(f"page: {write_page(cfg, folder, splits, verdict=text)}")
    print("not checked: whether boxes lie on their objects; the page shows it")
    if refusal:
        raise refusal
    if errors:
        say(text)
        sys.exit(EXIT_BAD_INPUT)
    print(text)


if __name__ == "__main__":
    run_command(main)
