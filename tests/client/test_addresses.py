"""A contact's address as people have it: pasted, with what stood around it."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadAddress
from tests.client.world import small
from tests.seeded import seeded

ADDRESS = IdentityKeys.generate(seeded(7)).address


async def test_a_contact_has_its_address_in_the_one_form(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node:
        for pasted in (ADDRESS, f" <shh://{ADDRESS.upper()}>,\n", ADDRESS.capitalize()):
            async with node.contact(pasted) as contact:
                assert contact.address == ADDRESS
        with pytest.raises(BadAddress, match="which stands at place 10"):
            node.contact(f"{ADDRESS[:9]}i{ADDRESS[10:]}")
