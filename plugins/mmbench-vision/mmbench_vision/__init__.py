"""Built-in plugin mmbench-vision: encoders of images."""

import mmbench as mb
from mmbench_vision.classic import ConvConvPool, LeNet, ResNet18, ResNet50, ViT
from mmbench_vision.cnn import CNN
from mmbench_vision.efficientnet import EfficientNetLite0


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [CNN, EfficientNetLite0, ConvConvPool, LeNet, ResNet18, ResNet50, ViT]
