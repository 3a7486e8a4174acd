"""Dropout of tabular networks: how much is dropped, what is left, and that a seed decides."""

import pytest

torch = pytest.importorskip("torch")

from ai_assets.lifecycle.errors import DeclarationError  # noqa: E402
from ai_assets.lifecycle.learners.dropout import dropout_layer  # noqa: E402


def ones(*shape: int):
    return torch.ones(shape, requires_grad=True)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_the_share_is_dropped_and_what_is_left_makes_up_for_it(share: float):
    torch.manual_seed(0)
    out = dropout_layer(share)(ones(1000, 1001))
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.002)
    assert out.max().item() == pytest.approx(1 / (1 - share), rel=1e-4)
    assert out.mean().item() == pytest.approx(1, abs=0.01)
    # Four values are decided by one number: no two of them alike.
    columns = (out[:, :1000] == 0).float().reshape(-1, 4)
    assert torch.corrcoef(columns.T)[0, 1:].abs().max().item() < 0.01


def test_the_gradient_goes_through_what_is_left():
    torch.manual_seed(0)
    values = ones(7, 9)
    out = dropout_layer(0.5)(values)
    out.sum().backward()
    assert torch.equal(values.grad, out.detach())
    assert 0 < int((out == 0).sum()) < 63


def test_a_seed_decides():
    def drawn(seed: int):
        torch.manual_seed(seed)
        layer = dropout_layer(0.3)
        return torch.stack([layer(ones(5, 5)), layer(ones(5, 5))])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert not torch.equal(*drawn(1))


def test_nothing_is_dropped_when_it_answers_or_is_told_to_drop_nothing_and_all_of_all():
    values = ones(3, 5)
    assert dropout_layer(0.0)(values) is values
    assert dropout_layer(0.5).eval()(values) is values
    assert not dropout_layer(1.0)(values).any()


@pytest.mark.parametrize("share", [-0.5, 1.5])
def test_what_is_no_share_is_refused(share: float):
    with pytest.raises(DeclarationError, match=f"dropout must be from 0 to 1, but got {share}"):
        dropout_layer(share)
