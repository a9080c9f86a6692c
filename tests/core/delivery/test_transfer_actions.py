"""What the machines of transfers ask for: fixed once made, and no byte of a whole in what is logged of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from onionshh.core.delivery import transfer_actions
from onionshh.core.delivery.actions import Count, LaneId, Send
from onionshh.core.delivery.parts import Part, TransferId, part_record
from onionshh.core.delivery.transfer_actions import (
    CheckWhole,
    DropTransfer,
    FinishTransfer,
    ForgetTransfer,
    InAction,
    KeepPart,
    MarkWhole,
    NeedMore,
    OfferTransfer,
    OutAction,
    Progress,
    RememberTransfers,
    Renew,
    SendPart,
    StoredPart,
    StoredTransfer,
    TransferEnded,
    TransferLost,
    TransferRow,
    Withdraw,
)
from onionshh.core.delivery.transfer_out import OutStage
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

SECRET = b"known to two alone"
ID = TransferId(b"t" * 16)
PART = Part(ID, 0, SECRET, bytes(32))
RECORD = part_record(PART, expires=600, privacy_class=1, random_bytes=seeded(1))
ROWS = (
    KeepPart(PART, 600, bytes(32)),
    MarkWhole(ID, 7),
    DropTransfer(ID, 600, Reason.TRANSFER_EXPIRED),
    FinishTransfer(ID),
    ForgetTransfer(ID),
)
EACH: list[object] = [
    NeedMore(),
    SendPart(RECORD),
    Renew(1.0),
    Withdraw((WhisperId(b"i" * 16),)),
    Progress(1, 2),
    TransferEnded(OutStage.FAILED, "why"),
    RememberTransfers(1, ROWS),
    CheckWhole(ID, 3),
    OfferTransfer(ID, 10, 1, 1),
    Send(LaneId(1), (RECORD,), None),
    TransferLost(ID, 5, Reason.TRANSFER_EXPIRED),
    Count(Reason.TRANSFERS_FULL),
    *ROWS,
    StoredPart(0, bytes(32), 5),
    StoredTransfer(ID, 0, 600, 0, None, b""),
]


def test_each_class_of_the_file_is_looked_at_here() -> None:
    kinds = {type(one) for one in EACH}
    assert {*get_args(OutAction), *get_args(InAction), *get_args(TransferRow)} <= kinds
    assert {type(row) for row in ROWS} == set(get_args(TransferRow))
    own = {
        one
        for one in vars(transfer_actions).values()
        if is_dataclass(one) and one.__module__ == transfer_actions.__name__
    }
    assert own <= kinds


@pytest.mark.parametrize("one", EACH, ids=lambda one: type(one).__name__)
def test_no_data_is_in_a_repr_and_nobody_changes_it_on_its_way(one: object) -> None:
    assert SECRET.decode() not in repr(one)
    for name in [field.name for field in fields(one)] or ["lane"]:  # type: ignore[arg-type]
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(one, name, None)
