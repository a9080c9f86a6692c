from __future__ import annotations

from onionshh.relay.mounted import Mounted
from simulations.world import Parrot
from tests.relay.library import COPY, LEND, Library


def test_roles_are_known_by_what_they_take_and_by_their_kinds() -> None:
    mounted = Mounted()
    library, parrot = Library(), Parrot()
    mounted.add(parrot)
    mounted.add(library)
    assert mounted.roles == (parrot, library)
    assert mounted.by_type[LEND] is mounted.by_type[COPY] is library
    assert mounted.punctual == (library,)
    assert mounted.costly == {COPY}
    assert mounted.statistics() == {"books_lent": 0}
    mounted.close()
    assert library.closed == 1


def test_a_role_whose_place_is_taken_counts_no_more() -> None:
    mounted = Mounted()
    first, second = Library(), Library()
    mounted.add(first)
    mounted.add(second)
    assert mounted.roles == mounted.punctual == (second,)
    second_only = frozenset(mounted.costly)
    assert second_only == {COPY}
    mounted.close()
    assert (first.closed, second.closed) == (0, 1)
