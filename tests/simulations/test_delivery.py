"""Five thousand runs of the Sender over bad lanes; `make simulate` makes a million."""

from __future__ import annotations

from simulations import delivery


def test_nothing_lost_nothing_twice_every_status_final_and_true() -> None:
    for seed in range(5_000):
        delivery.run(seed)
