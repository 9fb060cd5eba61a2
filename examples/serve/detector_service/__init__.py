"""Serves a file of `export.py --file_format=ONNX --nms=True`; MindSpore is not needed."""
