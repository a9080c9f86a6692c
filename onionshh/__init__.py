"""onionshh: an anonymity overlay for whispers between programs and people.

    async with onionshh.join("network.toml", data_dir="node") as node:
        async with node.host("identity") as endpoint:
            print(endpoint.address)
            async for whisper in endpoint:
                await whisper.reply(whisper.body)

The names below are the public API, and API.md describes each of them; everything else may change. They are
loaded when first used, so that a command line that needs one of them does not wait for the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onionshh.client.board.board import Board
    from onionshh.client.board.post import Post
    from onionshh.client.board.posting import Posting
    from onionshh.client.contact import Contact
    from onionshh.client.endpoint import Endpoint, EndpointStatus
    from onionshh.client.hosting.reachability import Reachability
    from onionshh.client.identities import Identity
    from onionshh.client.incoming import IncomingTransfer
    from onionshh.client.meeting.meeting import Meeting
    from onionshh.client.node import CircuitInfo, Node, NodeStatus, join
    from onionshh.client.peer import Peer
    from onionshh.client.receipt import Receipt
    from onionshh.client.session.info import SessionInfo
    from onionshh.client.transfer import Transfer, TransferProgress
    from onionshh.client.whisper import Whisper
    from onionshh.errors import (
        Away,
        BadAddress,
        BadData,
        BadNetworkFile,
        ClockWrong,
        Closed,
        DataInUse,
        Error,
        Full,
        NetworkUnreachable,
        NoDirectory,
        NotDelivered,
        NotStored,
        TooLarge,
        WrongLoop,
    )

__version__ = "0.1.0"

__all__ = [
    "Away",
    "BadAddress",
    "BadData",
    "BadNetworkFile",
    "Board",
    "CircuitInfo",
    "ClockWrong",
    "Closed",
    "Contact",
    "DataInUse",
    "Endpoint",
    "EndpointStatus",
    "Error",
    "Full",
    "Identity",
    "IncomingTransfer",
    "Meeting",
    "NetworkUnreachable",
    "NoDirectory",
    "Node",
    "NodeStatus",
    "NotDelivered",
    "NotStored",
    "Peer",
    "Post",
    "Posting",
    "Reachability",
    "Receipt",
    "SessionInfo",
    "TooLarge",
    "Transfer",
    "TransferProgress",
    "Whisper",
    "WrongLoop",
    "join",
]

_WHERE = {
    "Board": "onionshh.client.board.board",
    "CircuitInfo": "onionshh.client.node",
    "Contact": "onionshh.client.contact",
    "Endpoint": "onionshh.client.endpoint",
    "EndpointStatus": "onionshh.client.endpoint",
    "Identity": "onionshh.client.identities",
    "IncomingTransfer": "onionshh.client.incoming",
    "Meeting": "onionshh.client.meeting.meeting",
    "Node": "onionshh.client.node",
    "NodeStatus": "onionshh.client.node",
    "Peer": "onionshh.client.peer",
    "Post": "onionshh.client.board.post",
    "Posting": "onionshh.client.board.posting",
    "Reachability": "onionshh.client.hosting.reachability",
    "Receipt": "onionshh.client.receipt",
    "SessionInfo": "onionshh.client.session.info",
    "Transfer": "onionshh.client.transfer",
    "TransferProgress": "onionshh.client.transfer",
    "Whisper": "onionshh.client.whisper",
    "join": "onionshh.client.node",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'onionshh' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE.get(name, "onionshh.errors")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
