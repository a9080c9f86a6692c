"""`onionshh host`: an endpoint that others reach by its address."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onionshh.cli.address import IDENTITY_FILE
from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH, bind_option, check_bind, check_reach, json_option, network_option

if TYPE_CHECKING:
    from onionshh.cli.answers import Answers
    from onionshh.cli.voice import Voice
    from onionshh.client.endpoint import Endpoint, Whisper

AT_ONCE = 8
SAY_UNREACHABLE_SECONDS = 30.0

logger = logging.getLogger("onionshh.host")


@click.command()
@network_option()
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder of the endpoint; no other process may use it.",
)
@click.option("--echo", is_flag=True, help="Answer each whisper with its own body.")
@click.option(
    "--exec", "program", metavar="PROGRAM", help="Run it for each whisper; its output is the reply."
)
@click.option(
    "--introducers",
    type=click.IntRange(1, 20),
    metavar="N",
    default=6,
    help="Introducers wanted, 1 to 20.",
)
@bind_option
@json_option
def host(
    network: Path,
    data: Path,
    echo: bool,
    program: str | None,
    introducers: int,
    bind: str | None,
    as_json: bool,
) -> int:
    """Host an endpoint and show the whispers that come, or answer them.

    The first start makes the identity in DIR; back up the file `identity`. With --exec a program gets each
    body on its stdin and its stdout is the reply (at most 65 535 bytes, within 60 s; 8 run at once); when
    it fails there is no reply. PROGRAM may have arguments, quoted as in a shell.

    \b
    With --json, one object a line:
      {"event": "address", "address": "shh1…"}
      {"event": "reachable", "introducers": 6, "seconds": 3.2}
      {"event": "unreachable", "why": "…"}
      {"event": "whisper", "id": "…", "received_at": Unix seconds, "body": "…"}
                                       a body that is not UTF-8 comes as body_base64
    and without --echo and --exec also lines on stdin:
      {"reply_to": "id", "body": "…"}  answer, or with body_base64
      {"done": "id"}                   finish without an answer
    A line that cannot be followed is answered by {"error": "…"}. A whisper that is neither answered nor
    done is shown again after a restart. Once stdin has ended, each is finished when it was shown.

    \b
    Examples:
      onionshh host --network net.toml --data me
      onionshh host --network net.toml --data me --echo
      onionshh host --network net.toml --data me --exec "tr a-z A-Z"
    """
    from onionshh.cli.ending import run, when_ended
    from onionshh.cli.patience import until_there_is
    from onionshh.cli.program import parse_command
    from onionshh.net.directory import read_network_file
    from onionshh.net.store import DataDirectory

    when_ended(0)
    if echo and program is not None:
        raise Usage("--echo and --exec exclude each other.")
    command = parse_command(program) if program is not None else None
    check_bind(bind)
    until_there_is(network)
    check_reach(bind, read_network_file(network))
    folder = DataDirectory(data)
    with folder.lock():
        return run(lambda: _run(network, data, bind, introducers, echo, command, as_json))


async def _run(
    network: Path,
    data: Path,
    bind: str | None,
    introducers: int,
    echo: bool,
    command: list[str] | None,
    as_json: bool,
) -> int:
    from contextlib import AsyncExitStack

    import trio

    from onionshh.cli.answers import Answers
    from onionshh.cli.lines import JsonLines, LineReader
    from onionshh.cli.patience import until_directory_answers
    from onionshh.cli.voice import JsonVoice, PeopleVoice
    from onionshh.client.identities import load_or_create_identity
    from onionshh.client.node import join

    identity = load_or_create_identity(data / IDENTITY_FILE)
    output = JsonLines()
    automatic = echo or command is not None
    voice: Voice = JsonVoice(output) if as_json else PeopleVoice(bodies=not automatic)
    await voice.address(identity.address)
    async with AsyncExitStack() as stack:
        node = await until_directory_answers(
            lambda: stack.enter_async_context(join(network, data_dir=data, bind=bind))
        )
        endpoint = await stack.enter_async_context(node.host(identity, introducers=introducers))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(_say_whether_reachable, endpoint, voice)
        if automatic:
            await _answer(endpoint, voice, lambda whisper: _reply(whisper, command))
        elif as_json:
            reader = LineReader()
            reader.look()
            answers = Answers(reader, output)
            nursery.start_soon(answers.run)
            await _show_and_hold(endpoint, voice, answers)
        else:
            await _show(endpoint, voice)
    return 0


async def next_whisper(endpoint: Endpoint) -> Whisper | None:
    """The next one, without finishing the one before: each call is an iteration of its own."""
    return await anext(aiter(endpoint), None)


async def _show(endpoint: Endpoint, voice: Voice) -> None:
    """Show whispers in the order they came; what was shown is finished."""
    while (whisper := await next_whisper(endpoint)) is not None:
        await voice.whisper(whisper)
        await whisper.done()


async def _show_and_hold(endpoint: Endpoint, voice: Voice, answers: Answers) -> None:
    """Show whispers in the order they came, each kept until its line comes on stdin."""
    while True:
        await answers.room()
        whisper = await next_whisper(endpoint)
        if whisper is None:
            return
        answers.hold(whisper)
        await voice.whisper(whisper)
        await answers.shown(whisper)


async def _answer(endpoint: Endpoint, voice: Voice, answer: Callable[[Whisper], Awaitable[None]]) -> None:
    """Answer whispers, several at once."""
    import trio

    places = trio.Semaphore(AT_ONCE)

    async def one(whisper: Whisper) -> None:
        try:
            await answer(whisper)
        finally:
            places.release()

    async with trio.open_nursery() as nursery:
        while True:
            await places.acquire()
            whisper = await next_whisper(endpoint)
            if whisper is None:
                return
            await voice.whisper(whisper)
            nursery.start_soon(one, whisper)


async def _reply(whisper: Whisper, command: list[str] | None) -> None:
    """With the program's output, or its own body."""
    from onionshh.cli.program import ProgramFailed, run_program

    if command is None:
        await whisper.reply(whisper.body)
        return
    try:
        output = await run_program(command, whisper.body)
    except ProgramFailed as error:
        logger.warning("no reply to a whisper: %s", error)
        await whisper.done()
    else:
        await whisper.reply(output)


async def _say_whether_reachable(endpoint: Endpoint, voice: Voice) -> None:
    """Each gain and loss; and once, when it takes long at the start, why."""
    import trio

    with trio.move_on_after(SAY_UNREACHABLE_SECONDS):
        await endpoint.reachable()
    if not endpoint.reachability.reachable:
        await voice.unreachable(endpoint.reachability.why)
    async for change in endpoint.reachability_changes():
        if change.reachable:
            await voice.reachable(change.introducers, change.seconds)
        else:
            await voice.unreachable(change.why)
