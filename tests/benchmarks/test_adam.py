"""Adam against torch's own."""

import torch
from torch import nn

from benchmarks.adam import Adam


def test_the_same_bits_as_the_library_also_where_a_gradient_is_zero():
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine, reference = Adam(ours.parameters(), 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(20):
        gradients = [torch.randn_like(p) * (step % 3) for p in theirs.parameters()]
        for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        reference.step()
        mine.descend(gradients)
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
