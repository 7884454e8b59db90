"""Adam against torch's own."""

import torch
from torch import nn

from benchmarks.adam import started, written_out


def test_the_same_bits_as_the_library_also_where_a_gradient_is_zero():
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine, reference = started(ours.parameters(), 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(20):
        gradients = [torch.randn_like(p) * (step % 3) for p in theirs.parameters()]
        for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        reference.step()
        mine.descend(gradients)
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_written_out_it_is_the_same_to_rounding():
    torch.manual_seed(0)
    start = [torch.randn(7, 5), torch.randn(5)]
    fused, ours = started([p.clone() for p in start], 0.01), started([p.clone() for p in start], 0.01)
    for _ in range(20):
        gradients = [torch.randn_like(p) for p in start]
        fused.descend(gradients)
        ours.count.add_(1)
        lists = ours.parameters, gradients, ours.means, ours.squares, [], [ours.count] * 2
        written_out(*lists, lr=ours.learning_rate, beta1=0.9, beta2=0.999, eps=1e-8)
    for a, b in zip(ours.tensors, fused.tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)
