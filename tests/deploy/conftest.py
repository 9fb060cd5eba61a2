"""What tests of exported files share."""

import pytest

from src.config.configuration import Config, make_config, read_recipe
from tests.conftest import DEMO_RECIPE, small_keys

KEYS = {"score_threshold": 0.3, "pre_nms_top_k": 200, "max_detections": 50}


@pytest.fixture(scope="session")
def base(shapes, tmp_path_factory) -> Config:
    """A small configuration, of files with 200 candidates and 50 detections of an image."""
    keys = small_keys(shapes, tmp_path_factory.mktemp("export"))
    return make_config([(read_recipe(str(DEMO_RECIPE)), "demo"), (keys, ""), (KEYS, "")])
