"""Detects objects with a file of `export.py --file_format=ONNX`; MindSpore is not needed.

pip install onnxruntime numpy opencv-python-headless
python3 detect_onnx.py detector.onnx photo.jpg ...
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

LIMITS = (("short_side", min), ("long_side", max))  # pixels of an image's sides on the canvas

if len(sys.argv) < 3:
    sys.exit("usage: detect_onnx.py detector.onnx photo.jpg ...")
try:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
except Exception as error:  # of a type for each reason
    sys.exit(f"{sys.argv[1]}: ONNX Runtime cannot read it: {error}")
metadata = session.get_modelmeta().custom_metadata_map
about = {key: json.loads(value) for key, value in metadata.items()}
if not about.get("nms"):
    sys.exit(f"{sys.argv[1]}: was not exported with --nms=True")
height, width = about["image_size"]
batch = max(about["export_batch"], 1)
for path in sys.argv[2:]:
    picture = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        sys.exit(f"{path}: cannot be read as an image")
    rows, columns = picture.shape[:2]
    scale, whole = np.array([width / columns, height / rows]), np.rint
    if about["resize"] == "letterbox":
        scale[:] = scale.min()
    elif about["resize"] == "short_side":
        short, long = (about[key] / side(rows, columns) for key, side in LIMITS)
        scale[:], whole = min(short, long, *scale), np.floor
    fitted = cv2.resize(picture, np.maximum(whole(scale * [columns, rows]), 1).astype(int))
    scale = np.array(fitted.shape[1::-1]) / [columns, rows]
    images = np.full((batch, height, width, 3), (124, 116, 104), np.uint8)  # around the picture
    images[0, : fitted.shape[0], : fitted.shape[1]] = fitted[..., ::-1]  # RGB
    boxes, scores, labels = (output[0] for output in session.run(None, {"images": images}))
    boxes = np.clip(boxes / np.tile(scale, 2), 0, [columns, rows, columns, rows])
    for box, score, label in zip(boxes, scores, labels):
        if label >= 0 and (box[2:] > box[:2]).all():
            print(path, about["names"][label], f"{score:.3f}", box.round(1).tolist())
