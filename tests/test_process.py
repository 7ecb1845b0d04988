"""What a job asks of its process."""

import torch

from gems.process import set_up_process


def test_denormals_are_taken_for_zero():
    tiny = torch.tensor([1e-30])
    assert tiny * 1e-10 != 0
    set_up_process()
    assert tiny * 1e-10 == 0
