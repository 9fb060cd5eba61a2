"""The data formats."""

from src.data.coco_reader import COCO
from src.data.reader import Reader
from src.data.txt_reader import TXT
from src.data.voc_reader import VOC
from src.data.yolo_reader import YOLO

# by the key `dataset`
READERS: dict[str, Reader] = {
    "coco": COCO,
    "other": TXT,
    "voc": VOC,
    "yolo": YOLO,
}
