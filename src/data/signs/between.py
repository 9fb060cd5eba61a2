"""Signs of splits, to train and to evaluate on, that do not go together."""

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.signs.classes import class_signs
from src.data.signs.empty import unlike_empty
from src.data.signs.sign import Sign


def between_signs(cfg: Config, training: Annotations, evaluation: Annotations) -> tuple[Sign, ...]:
    """What is suspicious about the objects in one split by those in the other."""
    of_classes = class_signs(training, evaluation, cfg.classes[1:])
    if not cfg.keep_empty or cfg.val_share:  # images without objects are left out, or shared out
        return of_classes
    if any(sign.name == "empty_images" for sign in training.signs):
        return of_classes
    return (*of_classes, *unlike_empty(training, evaluation))
