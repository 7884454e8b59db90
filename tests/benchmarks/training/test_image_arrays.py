"""The arrays of the image figures are what their names say."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import vaezoo
from benchmarks.planning.random_streams import make_generator
from benchmarks.training.image_arrays import choose_examples, make_image_arrays
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
    arrays = make_image_arrays(model, data, SEED)
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
    for change in ({"shape": (64,)}, {"values": "real"}, {"shape": (8, 4, 2)}, {"shape": (2, 32)}):
        data = dataclasses.replace(setup.data, facts=dataclasses.replace(setup.data.facts, **change))
        assert make_image_arrays(setup.model, data, seed=0) == {}


@pytest.mark.parametrize(("shape", "pixels"), [((4, 16), (4, 16)), ((8, 8, 1), (8, 8)), ((7, 3, 3), (7, 3, 3))])
def test_images_of_other_shapes(setup_variant, shape, pixels):
    """Without classes, the first ten images are the examples."""
    setup = setup_variant(VARIANTS[1])
    facts, size = dataclasses.replace(setup.data.facts, shape=shape), math.prod(shape)
    model = vaezoo.build(VARIANTS[1], vaezoo.DataSpec(shape, "bernoulli", ()), 2)
    test = setup.data.test[:12, :size]
    data = dataclasses.replace(setup.data, test=test, test_labels=torch.zeros(12), facts=facts)
    arrays = make_image_arrays(model, data, SEED)
    np.testing.assert_array_equal(arrays["originals"], (255 * test[:10]).byte().reshape(10, *pixels))
    assert arrays["samples"].shape[1:] == pixels


def test_at_most_ten_classes_are_shown():
    labels = torch.arange(40) % 15
    assert choose_examples(labels.numpy()).tolist() == list(range(10))
