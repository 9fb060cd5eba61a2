"""What the service answers, as JSON; the schema at /openapi.json is made of it."""

from pydantic import BaseModel, Field


class Detection(BaseModel):
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels of the stored image")
    score: float
    label: int = Field(description="index into the names of /model")
    name: str


class Timings(BaseModel):
    """Milliseconds."""

    read: float = Field(description="until the request's body had arrived")
    decode: float = Field(description="of this image, resizing included")
    wait: float = Field(description="for a batch to start")
    inference: float = Field(description="of the whole batch")
    total: float = Field(description="from the request's header to the answer")


class ImageResult(BaseModel):
    file: str = Field(description="its name in a form; empty for a raw body")
    width: int
    height: int
    detections: list[Detection] = Field(description="best first")
    batch_size: int = Field(description="images of the inference that this one was in")
    timings: Timings


class ImageResults(BaseModel):
    images: list[ImageResult] = Field(description="in the order of the request")


class Model(BaseModel):
    """What is served, and within which limits."""

    names: list[str]
    image_size: list[int] = Field(description="height, width of the network's input")
    resize: str
    score_threshold: float = Field(description="the file has no lower scores")
    fixed_batch: int = Field(description="images of each inference; 0 where any number goes")
    max_batch: int
    max_images: int
    max_bytes: int
    max_pixels: int


class Problem(BaseModel):
    detail: str = Field(description="one line")
