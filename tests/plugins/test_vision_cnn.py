import numpy as np
import torch
from mmbench_vision.cnn import CNN
from PIL import Image

from mmbench.testing.encoder import EncoderContract


class TestCNN(EncoderContract):
    part = CNN


def test_pixels_keep_their_colour_and_place() -> None:
    image = Image.new("RGB", (64, 128), (255, 0, 0))
    image.paste((0, 0, 255), (0, 64, 64, 128))
    pixels = CNN().transform({"size": 32}, [image])["pixels"]
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels[0, :, 4, 4].tolist() == [255, 0, 0]
    assert pixels[0, :, 28, 28].tolist() == [0, 0, 255]


def test_training_shifts_by_whole_pixels_and_repeats_the_edge() -> None:
    pixels = torch.arange(32 * 32).view(1, 1, 32, 32).expand(200, 3, -1, -1).clone()
    found = CNN().augment({"pixels": pixels}, torch.Generator().manual_seed(0))["pixels"]
    moves = {divmod(int(image[0, 16, 16]), 32) for image in found}
    assert moves == {(16 + down, 16 + right) for down in range(-2, 3) for right in range(-2, 3)}
    for image in found[:20]:
        down, right = (place - 16 for place in divmod(int(image[0, 16, 16]), 32))
        rows, columns = (np.clip(np.arange(32) + shift, 0, 31) for shift in (down, right))
        np.testing.assert_array_equal(image[0].numpy(), rows[:, None] * 32 + columns)


def test_a_flip_mirrors_about_half_of_the_images_in_training_only() -> None:
    state = {"size": 32, "mean": np.zeros(3), "deviation": np.ones(3)}
    torch.manual_seed(0)
    module = CNN().build(state, {"width": 32, "layers": 0, "dropout": 0.0, "flip": True})
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    arrays = {"pixels": image.expand(100, -1, -1, -1)}
    plain, mirrored = (module.eval()({"pixels": i}).tokens for i in (image, image.flip(-1)))
    found = module.train()(arrays).tokens
    as_is, flipped = ((found - one).abs().amax((1, 2)) < 1e-4 for one in (plain, mirrored))
    assert (as_is ^ flipped).all()
    assert 25 < int(flipped.sum()) < 75


def test_summary_is_the_image_at_eight_by_eight() -> None:
    pixels = np.zeros((1, 3, 32, 32), np.uint8)
    pixels[:, 0, :4, :4] = 255
    summary = CNN().summary({}, {"pixels": pixels})
    assert summary.shape == (1, 192)
    assert summary[0, 0] == 1
    assert (summary[0, 1:] == -1).all()
