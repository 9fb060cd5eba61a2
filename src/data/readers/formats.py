"""The data formats."""

from src.data.readers.coco_reader import COCO
from src.data.readers.reader import Reader
from src.data.readers.txt_reader import TXT
from src.data.readers.voc_reader import VOC
from src.data.readers.yolo_reader import YOLO

# by the key `dataset`
READERS: dict[str, Reader] = {
    "coco": COCO,
    "other": TXT,
    "voc": VOC,
    "yolo": YOLO,
}
