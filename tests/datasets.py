"""Writes a split in the other formats."""

from pathlib import Path

from src.data.annotations import Annotations


def write_txt(annotations: Annotations, path: Path) -> None:
    """The split as a text file; crowd regions, which it does not know, are left out."""
    lines = []
    for record in annotations:
        objects = [
            f"{','.join(f'{v:g}' for v in box)},{label + 1}"
            for box, label, crowd in zip(record.boxes, record.labels, record.crowd)
            if not crowd
        ]
        lines.append(" ".join([f'"{record.path.name}"', *objects]))
    path.write_text("# path and boxes\n\n" + "\n".join(lines) + "\n")


def write_voc(annotations: Annotations, root: Path, split: str, names: tuple[str, ...]) -> None:
    """The split in Pascal VOC's folders, its images copied; crowd regions become difficult."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for record in annotations:
        objects = [
            object_xml(names[label], box, difficult)
            for box, label, difficult in zip(record.boxes, record.labels, record.crowd)
        ]
        (root / "Annotations" / f"{record.path.stem}.xml").write_text(
            f"<annotation><size><width>{record.width}</width><height>{record.height}</height>"
            f"<depth>3</depth></size>{''.join(objects)}</annotation>"
        )
        target = root / "JPEGImages" / record.path.name
        target.write_bytes(record.path.read_bytes())
    stems = "".join(f"{record.path.stem}\n" for record in annotations)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)


def object_xml(name: str, box, difficult: bool) -> str:
    """An <object>; VOC counts pixels from 1 and includes the last."""
    x1, y1, x2, y2 = box
    return (
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax>"
        "</bndbox></object>"
    )
