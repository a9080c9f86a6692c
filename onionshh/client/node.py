"""A node: one membership in a network, under which endpoints are hosted and contacts made.

This is what a program sees of it; `assemble.py` puts together what works behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from onionshh.client.arguments import check_name, check_seconds, check_whole, relay_ids
from onionshh.client.assemble import assembled
from onionshh.client.context import Context
from onionshh.client.identities import Identity
from onionshh.client.one_machine import find_network
from onionshh.core.base.classes import INTRODUCTION_HOPS, MOST_HOPS, check_hops, privacy_class, reveals
from onionshh.core.board.topic import Topic
from onionshh.crypto.identity import IdentityKeys, decode_address_untrusted, encode_address
from onionshh.errors import WrongLoop
from onionshh.geometry import KEY
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from onionshh.net.memory_folder import InMemory
from onionshh.net.network_file import read_network_file
from onionshh.net.socks import dialer_of
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import check_local
from onionshh.net.via import parse_via

if TYPE_CHECKING:
    from onionshh.client.board.board import Board
    from onionshh.client.contact import Contact
    from onionshh.client.endpoint import Endpoint
    from onionshh.client.meeting.meeting import Meeting

INTRODUCERS_DEFAULT = 6
INTRODUCERS_MOST = 20
NAME_MOST = 64


@dataclass(frozen=True, slots=True)
class CircuitInfo:
    """One circuit, for debugging: what `Node.circuits` lists."""

    purpose: str
    """What the circuit is for. `ready` and `consensus` belong to nobody: they are built ahead. A conversation
    has `rendezvous` (a visitor's), `answer` (an endpoint's) or `call` (of whoever speaks first) while it
    lasts, and for a moment `ring`, `introduce`, `resume`, `prove` or `mailbox`. `way back` and `introducer`
    are held so that the other end can come; `publish` and `test` are an endpoint's own."""
    path: tuple[str, ...]
    """The nicknames of the relays, first hop first. Relays choose their own; they prove nothing."""
    relays: tuple[str, ...]
    """The identities of the relays, 64 hex digits each, in the same order."""
    age_seconds: float
    """How long ago the first relay was asked for this circuit."""
    reveals: str
    """What this path shows to whom, in a sentence (SPEC 1)."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The numbers of one moment: what `Node.status` returns."""

    online: bool
    """As `Node.online`."""
    guards_up: int
    """How many guards this node has an open link to."""
    relays: int
    """How many relays the consensus in hand lists, 0 without one."""
    consensus_age_seconds: int | None
    """How old that consensus is, None without one."""
    circuits: int
    """How many circuits this node has, of all kinds."""
    drops: dict[str, int]
    """As `Node.drops`."""


class Node:
    """One membership in a network, made by `join`. It hosts any number of endpoints and makes any number of
    contacts, all at once. It is closed when the block of `join` ends.

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        async with node.contact(address) as contact:
            await contact.whisper(b"hello")
            print(node.online)  # True
            print(node.trouble or "no trouble")  # no trouble
            print(node.status().relays)  # 8
            print(node.status().drops == node.drops())  # True
            for circuit in node.circuits():
                print(circuit.purpose, circuit.path, circuit.reveals)  # …
    ```

    A program that is started together with its directory waits for it, and keeps its guards:

    ```python
    import onionshh


    async def main() -> None:
        try:
            async with onionshh.join("network.toml", data_dir="node", wait_seconds=60) as node:
                print(node.status().consensus_age_seconds is not None)  # True
            async with onionshh.join("missing.toml", data_dir="node"):
                pass
        except onionshh.BadNetworkFile as error:
            print(error)  # There is no network file at missing.toml; …
    ```
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def host(
        self,
        identity: IdentityKeys | Path | str,
        *,
        introducers: int = INTRODUCERS_DEFAULT,
        receipts: bool = True,
        senders: bool = False,
        inbox: bool = True,
        give_up_after: int | None = None,
    ) -> Endpoint:
        """An endpoint, to be entered with `async with`.

        - `identity`: an `Identity`, or the path of its file. If there is no such file, a new identity is made
          and saved there.
        - `introducers`: how many relays should stand ready to pass introductions on, 1 to 20.
        - `receipts`: whether the endpoint says that it has a whisper. With False it answers nothing but your
          replies, and its descriptor says so: for visitors, `sent` is then the final status of a whisper. The
          endpoint keeps no session with a visitor before it has replied to it.
        - `senders`: whether to check who visitors say they are (see `Node.contact`). Then `Whisper.sender` is
          an address that was proved. To check one, the endpoint fetches that sender's descriptor.
        - `inbox`: whether visitors may leave whispers for this endpoint while it is away, up to seven days.
          The endpoint then looks for them when it starts and every 10 to 20 minutes. With False its
          descriptor says that it takes none.
        - `give_up_after`: a whisper that was shown this often and never finished is set aside, for
          `Endpoint.given_up`. With None every whisper is shown until it is finished.

        Raises BadData when the file cannot be read or written, ValueError for a number out of its range or a
        path that names no file, Closed when the node is closed. Entering the block raises DataInUse when this
        data folder hosts the same endpoint already, BadData when what is kept for it cannot be read, and
        NoDirectory when the consensus in hand has expired.

        ```python
        import onionshh


        async def main(node: onionshh.Node) -> None:
            async with node.host("identity", introducers=3) as endpoint:
                print(endpoint.address)  # shh1…
        ```
        """
        check_whole("introducers", introducers, 1, INTRODUCERS_MOST)
        if give_up_after is not None:
            check_whole("give_up_after", give_up_after, 1)
        self._context.check_open()
        if not isinstance(identity, IdentityKeys):
            identity = Identity.load_or_create(identity, self._context.chance.bytes)
        # Each kind of program loads what it uses: hosting, visiting and boards take some megabytes each.
        from onionshh.client.endpoint import Endpoint

        return Endpoint(
            self._context,
            identity,
            introducers,
            give_up_after,
            receipts=receipts,
            senders=senders,
            inbox=inbox,
        )

    def contact(
        self,
        address: str,
        *,
        name: str | None = None,
        session: bool = True,
        way_back: bool = False,
        sender: IdentityKeys | Endpoint | str | None = None,
        privacy: str = "talk",
        hops: int | None = None,
        background: bool = False,
        store: bool = True,
    ) -> Contact:
        """A contact, to be entered with `async with`. `Contact` says what names, sessions, ways back and
        senders are for.

        - `address`: the endpoint's, `shh1…`. Quotes, brackets and blanks around it do no harm.
        - `name`: 1 to 64 printable characters. Then outbox and session are on disk, and go on when it is
          entered again.
        - `session`: whether to go on with a session after the first whisper; else each circuit is a new
          stranger's.
        - `way_back`: whether to hold two circuits by which the endpoint can speak first: 8 contacts can.
        - `sender`: an identity that this node hosts now, or its endpoint: who you are, for the endpoint.
        - `privacy`: the privacy class, "talk" (2 or 3 hops) or "flash" (0 or 1), SPEC 16.
        - `hops`: relays between this node and the rendezvous point, 0 to 3. With None the class draws a
          number for each circuit. With 0 the rendezvous point sees this node's IP address, and with 1 the
          guard sees which relay the rendezvous point is.
        - `background`: for much that nobody waits for: it always leaves room for what other contacts send.
        - `store`: whether whispers with a TTL over 600 s are left in the inbox of an endpoint that is away;
          with `session=False` none are.

        Raises BadAddress, ValueError for a wrong name, an unknown class or number of hops, a sender that this
        node does not host, or a way back or sender without a session, TypeError when the address is not text,
        Closed when the node is closed. Entering the block raises ValueError when all ways back are taken.
        With a name it raises DataInUse while another one of this address and name is open, and BadData when
        what is kept for it cannot be read.

        ```python
        import onionshh


        async def main(node: onionshh.Node, address: str) -> None:
            async with node.contact(address, privacy="flash", hops=1) as contact:
                receipt = await contact.whisper(b"hello")
                print(receipt.hops)  # 1
        ```
        """
        self._context.check_open()
        if name is not None:
            check_name("name", name, NAME_MOST)
        key = decode_address_untrusted(address)
        if not session and (way_back or sender is not None):
            raise ValueError("A way back and a sender belong to a session: with session=False there is none.")
        shown, kind, hops = self._sender_key(sender), privacy_class(privacy), check_hops(hops)
        from onionshh.client.contact import Contact
        from onionshh.client.correspondence import Terms

        terms = Terms(key, kind, hops, background, session, shown, way_back, store)
        return Contact(self._context, encode_address(key), terms, name)

    def board(
        self, topic: bytes | str, *, author: IdentityKeys | None = None, name: str | None = None
    ) -> Board:
        """A board, to be entered with `async with`. `Board` says what authors and names are for.

        - `topic`: 32 secret bytes, which all members share; or a name, 1 to 256 printable characters. A name
          is public: whoever knows or guesses it can read and post.
        - `author`: an `Identity`. Your posts here are then known to belong together, and readers cannot tell
          whose they are.
        - `name`: 1 to 64 printable characters. Then your posts and how far you have read are on disk, and go
          on when it is entered again.

        Raises ValueError for a topic or a name that cannot be, TypeError for a topic that is neither text nor
        bytes or an author that is no identity, Closed when the node is closed. Entering the block raises
        DataInUse while another board of this topic and name is open, and BadData when what is kept for it
        cannot be read.
        """
        self._context.check_open()
        if name is not None:
            check_name("name", name, NAME_MOST)
        if author is not None and not isinstance(author, IdentityKeys):
            raise TypeError(f"An author is an Identity, not {type(author).__name__}.")
        from onionshh.client.board.board import Board

        return Board(self._context, Topic.of(topic), author, name)

    def meet(self, secret: bytes, *, name: str | None = None) -> Meeting:
        """A meeting with whoever knows the same secret, to be entered with `async with`. See `Meeting`.

        - `secret`: 32 random bytes that two people share. Whoever else has them can come to the meeting, too.
        - `name`: 1 to 64 printable characters. Then the conversation is on disk, and goes on when it is
          entered again.

        Raises ValueError for a secret of another length or a wrong name, TypeError when the secret is not
        bytes, Closed when the node is closed. Entering the block raises ValueError when all ways back of this
        node are taken or it watches 16 boards, DataInUse while another meeting with this secret and name is
        open, and BadData when what is kept for it cannot be read.
        """
        self._context.check_open()
        if not isinstance(secret, bytes):
            raise TypeError(f"A secret is {KEY} bytes, not {type(secret).__name__}.")
        if len(secret) != KEY:
            raise ValueError(f"A secret has {KEY} bytes; this one has {len(secret)}.")
        if name is not None:
            check_name("name", name, NAME_MOST)
        from onionshh.client.meeting.meeting import Meeting

        return Meeting(self._context, secret, name)

    def _sender_key(self, sender: IdentityKeys | Endpoint | str | None) -> bytes | None:
        if sender is None:
            return None
        if isinstance(sender, IdentityKeys):
            key = sender.A
        else:
            key = decode_address_untrusted(sender if isinstance(sender, str) else sender.address)
        if key not in self._context.hosted:
            raise ValueError("The sender must be an identity that this node hosts now.")
        return key

    def circuits(self) -> list[CircuitInfo]:
        """Every circuit of this node, oldest first. For debugging: what is built ahead is listed too."""
        circuits = sorted(self._context.circuits.circuits, key=lambda circuit: circuit.made_at)
        return [
            CircuitInfo(
                circuit.purpose.value,
                tuple(row.nickname for row in circuit.path),
                tuple(row.identity.hex() for row in circuit.path),
                round(circuit.age_seconds, 3),
                reveals(len(circuit.path) - 1),
            )
            for circuit in circuits
        ]

    @property
    def online(self) -> bool:
        """Whether a guard answers. Without one, nothing of this node reaches the network (SPEC 6)."""
        return self._context.builder.online

    @property
    def trouble(self) -> str:
        """Why nothing of this node can leave the machine: its proxy does not answer or does not let it in.
        Empty if that is not so. The text has no address."""
        return self._context.builder.links.trouble

    def status(self) -> NodeStatus:
        """The numbers of this moment."""
        context = self._context
        view = context.keeper.view
        age = None if view is None else max(0, context.clock.best() - view.consensus.valid_after)
        return NodeStatus(
            online=self.online,
            guards_up=context.builder.guards_up,
            relays=0 if view is None else len(view.consensus.relays),
            consensus_age_seconds=age,
            circuits=len(context.circuits.circuits),
            drops=self.drops(),
        )

    def drops(self) -> dict[str, int]:
        """How often this node dropped or refused something since it started, by reason."""
        return self._context.drops.by_name()


@asynccontextmanager
async def join(
    network: str | Path | None = None,
    *,
    data_dir: str | Path | None,
    wait_seconds: float = 0.0,
    bind: str | None = None,
    via: str | None = None,
    own_relays: Iterable[str] = (),
    introduction_hops: int = INTRODUCTION_HOPS,
) -> AsyncIterator[Node]:
    """Join a network. The block gets a `Node`; when the block ends, everything of that node is closed.

    - `network`: the path of the network file. With None it is the file that the environment variable
      ONIONSHH_NETWORK names, else that of the network which `onionshh network` runs on this machine.
    - `data_dir`: the folder for guards, the consensus and endpoints. Any number of nodes may share it. With
      None everything is in memory and nothing on disk. Then each start draws other guards, which over time
      shows more of you than keeping them does; and a whisper that an endpoint acknowledged but did not finish
      is gone when the endpoint closes.
    - `wait_seconds`: how long to try again while no directory answers or the clocks differ. With 0 there is
      one try.
    - `bind`: the local IP address of every outgoing connection, one that this machine has.
    - `via`: the proxy of everything that goes out, links and HTTP: `socks5://HOST:PORT` (or with
      `USER:PASSWORD@`), `tor` or `tor=HOST:PORT`. It looks names up, and nothing goes around it.
    - `own_relays`: the identities (64 hex digits each) of relays that you run. They are never on a path.
    - `introduction_hops`: relays between this node and an introducer or ring relay, 0 to 3. Leave it alone
      unless you know why: with 1 the guard learns which relays this node asks, and with 0 the relay that is
      asked learns this node's IP address.

    Raises BadNetworkFile when there is no network file or it cannot be used, NoDirectory when no directory
    answers, ClockWrong when the local clock is wrong, BadData when a file in the data folder cannot be used,
    ValueError for a bad argument, and WrongLoop outside trio.

    Everything in memory:

    ```python
    import onionshh


    async def main() -> None:
        async with onionshh.join("network.toml", data_dir=None) as node:
            print(node.status().relays)  # 8
    ```
    """
    _check_loop()
    check_seconds("wait_seconds", wait_seconds)
    check_whole("introduction_hops", introduction_hops, 0, MOST_HOPS)
    if bind is not None:
        check_local(bind)
    own, proxy = relay_ids("own_relays", own_relays), None if via is None else parse_via(via)
    async with assembled(
        read_network_file(find_network() if network is None else network),
        folder=InMemory() if data_dir is None else DataDirectory(data_dir),
        wait_seconds=wait_seconds,
        source=HttpSource(bind, via=proxy),
        dialer=dialer_of(bind, proxy),
        clock=Clock(),
        own_relays=own,
        introduction_hops=introduction_hops,
    ) as context:
        yield Node(context)


def _check_loop() -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise WrongLoop(
            "onionshh runs under trio, and this is another event loop or none: use trio.run(main)."
        ) from None
