"""The arrays of the image figures are what their names say."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.planning.random_streams import make_generator
from benchmarks.training.image_arrays import make_image_arrays
from vaezoo import VARIANTS

SEED = 3


@pytest.fixture(scope="module")
def labels():
    return torch.tensor([2, 0, 2, 1, 0, 1, 1])


def to_bytes(pixels):
    return (255 * pixels).round().to(torch.uint8).view(-1, 8, 8).numpy()


@torch.no_grad()
def test_every_array_is_what_its_name_says(setup_variant, labels):
    setup = setup_variant(VARIANTS[1])
    model, x = setup.model, setup.data.test[:7]
    data = dataclasses.replace(setup.data, test=x, test_labels=labels)
    arrays = make_image_arrays(model, data, (8, 8), SEED)
    source, q, first = make_generator(SEED, "pictures"), model.encoder(x), [1, 3, 0]  # the first image of each class
    draws, prior = torch.randn(3, 10, generator=source), torch.randn(30, 10, generator=source)
    weights = torch.arange(8)[:, None] / 7
    decoded = {
        "reconstructions": q.mean[first] + q.scale[first] * draws,
        "samples": prior,
        "interpolation": (1 - weights) * q.mean[1] + weights * q.mean[3],
    }
    assert set(arrays) == {"originals", *decoded, "codes", "scales", "ends", "labels"}
    np.testing.assert_array_equal(arrays["originals"], to_bytes(x[first]))
    for name, z in decoded.items():
        pixels = torch.sigmoid(model.decoder.network(z.float()))
        assert np.abs(arrays[name].astype(int) - to_bytes(pixels)).max() <= 1, name  # rounding
    for name, values in (("codes", q.mean), ("scales", q.scale), ("ends", q.mean[[1, 3]])):
        np.testing.assert_allclose(arrays[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(arrays["labels"], labels)


def test_data_that_are_no_images_have_no_arrays(setup_variant):
    setup = setup_variant(VARIANTS[1])
    assert make_image_arrays(setup.model, setup.data, (64,), seed=0) == {}
