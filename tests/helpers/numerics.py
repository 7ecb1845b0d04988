"""Comparison of float32 results with exact ones, whatever the processor's order of summation."""

import torch

# Relative error of one rounding to float32.
UNIT = 2.0**-24
# How often inputs are changed, and what the largest effect of it is multiplied by.
CHANGES, FACTOR = 8, 4


def assert_equal_up_to_rounding(ours, exact, inputs, terms):
    """Compare results with those of ``exact``, whose ``inputs`` are changed in place meanwhile.

    In any order of summation, a float32 sum of n terms is the exact sum of terms that are changed
    by a relative n x UNIT at most. So results may be off by what such changes of the inputs do to
    them, and choices may differ where such a change makes a difference to them.

    Args:
        ours: float32 tensors, or int64 ones for choices.
        exact: a function without arguments that gives what is expected.
        inputs: tensors that it uses, float64 unless it can only be computed in single precision.
        terms: number of terms of the longest sum.
    """
    generator = torch.Generator().manual_seed(0)
    expected = [part.detach() for part in exact()]
    originals = [part.detach().clone() for part in inputs]
    changed = []
    for _ in range(CHANGES):
        for part, original in zip(inputs, originals, strict=True):
            signs = 2 * torch.randint(2, original.shape, generator=generator) - 1
            part.data.copy_(original * (1 + terms * UNIT * signs))
        changed.append([part.detach() for part in exact()])
    for part, original in zip(inputs, originals, strict=True):
        part.data.copy_(original)
    for our, wanted, *others in zip(ours, expected, *changed, strict=True):
        assert our.shape == wanted.shape
        moved = torch.stack(others)
        if wanted.is_floating_point():
            effect = (moved - wanted).abs().amax(0)
            tolerance = FACTOR * (effect + UNIT * wanted.abs().max())
            off = (our.detach().double() - wanted.double()).abs()
            assert (off <= tolerance).all(), f"off by up to {(off / tolerance).max()} tolerances"
        else:
            certain = (moved == wanted).all(0)
            assert certain.float().mean() > 0.9
            assert torch.equal(our[certain], wanted[certain])


def differentiated(function, inputs, weights):
    """Results of a function without arguments, and gradients of their sum with ``weights``."""
    results = function()
    pairs = zip(results, weights, strict=True)
    total = sum((part * weight.to(part)).sum() for part, weight in pairs)
    return [*results, *torch.autograd.grad(total, inputs)]
