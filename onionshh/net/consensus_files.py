"""The present consensus and the one before it, on disk (SPEC 8).

A document on disk was accepted before. Its signatures are checked again when it is read. If it is damaged or
from another network, it counts as absent and is fetched again.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from onionshh.advice import in_words
from onionshh.config import NetworkFile
from onionshh.core.trust import read_consensus_untrusted
from onionshh.errors import ProtocolError
from onionshh.net.conditions import Condition
from onionshh.net.store import Folder
from onionshh.wire.consensus import Consensus

logger = logging.getLogger("onionshh.net")

CONSENSUS_FILE = "consensus"
PREVIOUS_FILE = "consensus-previous"


class KeptConsensus(NamedTuple):
    """A consensus from disk: its document, its content, and the consensus before it if there is one."""

    document: bytes
    consensus: Consensus
    previous: Consensus | None


class ConsensusFiles:
    """The two files of one node. It also knows whether the disk accepts them."""

    def __init__(self, folder: Folder, network: NetworkFile) -> None:
        self._folder = folder
        self._network = network
        self._not_kept = Condition(logger.warning)

    def read(self) -> KeptConsensus | None:
        """The consensus that was kept last, or None."""
        document, consensus = self._read(CONSENSUS_FILE)
        if consensus is None:
            return None
        return KeptConsensus(document, consensus, self._read(PREVIOUS_FILE)[1])

    def keep(self, document: bytes, previous: bytes) -> None:
        """Keep a new consensus and the previous one (b"" for none). If the disk refuses, this is logged once,
        and the consensus is still used."""
        try:
            if previous:
                self._folder.write(PREVIOUS_FILE, previous)
            self._folder.write(CONSENSUS_FILE, document)
        except OSError as error:
            self._not_kept.holds(f"a new consensus is used and could not be kept on disk: {in_words(error)}")
        else:
            self._not_kept.over("consensuses are kept on disk again")

    def _read(self, name: str) -> tuple[bytes, Consensus | None]:
        data = self._folder.read(name)
        if data is None:
            return b"", None
        try:
            return data, read_consensus_untrusted(data, self._network)
        except ProtocolError:
            return b"", None
