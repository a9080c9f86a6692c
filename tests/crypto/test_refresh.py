"""The key exchange that renews a session: X25519 and ML-KEM together (SPEC 12)."""

from __future__ import annotations

import pytest

from onionshh.crypto.refresh import ANSWER, OFFER, SEED, Offer, respond_untrusted
from onionshh.errors import CryptoError
from onionshh.geometry import POINT, REFRESH_BODY, REFRESHED_BODY
from onionshh.reasons import Reason
from tests.crypto.test_primitives import SMALL_ORDER
from tests.seeded import seeded


def test_both_sides_have_the_same_two_secrets() -> None:
    offer = Offer(seeded(1))
    answer, shared, kem = respond_untrusted(offer.public, seeded(2))
    assert offer.finish_untrusted(answer) == (shared, kem)
    assert len(shared) == len(kem) == 32
    assert shared != kem
    assert (len(offer.public), len(answer)) == (OFFER, ANSWER) == (REFRESH_BODY - 4, REFRESHED_BODY - 4)


def test_the_seed_governs_an_offer() -> None:
    assert Offer(seeded(1)).public == Offer(seeded(1)).public != Offer(seeded(2)).public


def test_an_offer_of_a_seed_is_the_same_each_time_and_each_can_finish() -> None:
    seed = seeded(7)(SEED)
    assert SEED == POINT + 64
    first, second = Offer.of_seed(seed), Offer.of_seed(seed)
    assert first.public == second.public
    answer, shared, kem = respond_untrusted(first.public, seeded(2))
    assert first.finish_untrusted(answer) == second.finish_untrusted(answer) == (shared, kem)
    for at in (0, POINT - 2, POINT, POINT + 31):  # the rest answers what is no ciphertext
        other = Offer.of_seed(seed[:at] + bytes((seed[at] ^ 64,)) + seed[at + 1 :])
        assert other.public != first.public
        assert other.finish_untrusted(answer) != (shared, kem)


def test_another_answer_to_the_same_offer_gives_other_secrets() -> None:
    offer = Offer(seeded(1))
    _, shared, kem = respond_untrusted(offer.public, seeded(2))
    _, other_shared, other_kem = respond_untrusted(offer.public, seeded(3))
    assert shared != other_shared
    assert kem != other_kem


@pytest.mark.parametrize("place", [0, 31, 32, 600, ANSWER - 1])
def test_a_changed_answer_does_not_give_the_same_secrets(place: int) -> None:
    """ML-KEM and X25519 do not refuse it. The chains that follow from it are known to nobody else."""
    offer = Offer(seeded(1))
    answer, shared, kem = respond_untrusted(offer.public, seeded(2))
    wrong = answer[:place] + bytes((answer[place] ^ 1,)) + answer[place + 1 :]
    if place == 31:
        assert offer.finish_untrusted(wrong[:31] + bytes((answer[31] ^ 2,)) + wrong[32:])[0] != shared
    else:
        assert offer.finish_untrusted(wrong) != (shared, kem)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_small_order_points_are_refused_both_ways(point: bytes) -> None:
    offer = Offer(seeded(1))
    answer, _, _ = respond_untrusted(offer.public, seeded(2))
    with pytest.raises(CryptoError) as caught:
        respond_untrusted(point + offer.public[POINT:], seeded(2))
    assert caught.value.reason is Reason.KEY_SMALL_ORDER
    with pytest.raises(CryptoError) as caught:
        offer.finish_untrusted(point + answer[POINT:])
    assert caught.value.reason is Reason.KEY_SMALL_ORDER


def test_an_ml_kem_key_out_of_range_is_refused() -> None:
    offer = Offer(seeded(1)).public
    with pytest.raises(CryptoError) as caught:
        respond_untrusted(offer[:POINT] + b"\xff" * (OFFER - POINT), seeded(2))
    assert caught.value.reason is Reason.HANDSHAKE_KEM_KEY


@pytest.mark.parametrize("change", [-1, 1])
def test_other_sizes_are_refused(change: int) -> None:
    offer = Offer(seeded(1))
    for door in (
        lambda: respond_untrusted(bytes(OFFER + change), seeded(2)),
        lambda: offer.finish_untrusted(bytes(ANSWER + change)),
    ):
        with pytest.raises(CryptoError) as caught:
            door()
        assert caught.value.reason is Reason.KEY_SIZE


def test_an_offer_shows_no_secret() -> None:
    assert repr(Offer(seeded(1))) == "Offer()"
