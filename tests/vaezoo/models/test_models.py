"""Models: the shapes of the perceptrons, and the precision of their outputs."""

import torch

from vaezoo import DataSpec, mlp_normal


def test_the_decoder_has_the_hidden_layers_of_the_encoder_in_reverse():
    model = mlp_normal(DataSpec((3, 3), "bernoulli", (7, 5)), 2)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert list(shapes.values()) == [(7, 9), (5, 7), (2, 5), (2, 5), (5, 2), (7, 5), (9, 7)]


def test_outputs_keep_their_precision_where_products_are_rounded():
    """The posterior is in float64, and the parameters of the likelihood are in that of the model."""
    model = mlp_normal(DataSpec((3, 3), "bernoulli", (7,)), 2)
    with torch.autocast("cpu", torch.bfloat16):
        q, output = model.encoder(torch.zeros(4, 3, 3)), model.decoder(torch.zeros(1, 4, 2))
    assert (q.mean.dtype, q.log_scale.dtype, output.dtype) == (torch.float64, torch.float64, torch.float32)
