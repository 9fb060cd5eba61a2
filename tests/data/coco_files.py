"""COCO's annotation files for tests."""

import json

from src.data.readers.coco_reader import read_coco

CLASSES = ("background", "cat", "dog")
CATEGORIES = [{"id": 44, "name": "dog"}, {"id": 5, "name": "cat"}]


def write(tmp_path, images, annotations, categories=CATEGORIES):
    """The path of a json file with this content, and the folder of its images."""
    path = tmp_path / "instances.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path, tmp_path / "images"


def image(image_id, **changes):
    return {"id": image_id, "file_name": f"{image_id}.png", "width": 40, "height": 30, **changes}


def annotation(own_id, image_id, category, bbox, **more):
    return {"id": own_id, "image_id": image_id, "category_id": category, "bbox": bbox, **more}


def read(path, folder, **options):
    """The annotations of a file without errors."""
    annotations, problems = read_coco(path, folder, CLASSES, **options)
    problems.raise_errors()
    return annotations
