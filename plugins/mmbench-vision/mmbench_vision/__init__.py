"""Built-in plugin mmbench-vision: encoders of images."""

import mmbench as mb
from mmbench_vision.cnn import CNN


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [CNN]
