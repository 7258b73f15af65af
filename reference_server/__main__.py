"""`python -m reference_server`: a whole chatmail test server."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from .errors import ConfigurationError
from .mail.settings import MailSettings
from .options import add_options, read_options, stated_options
from .plan import plan
from .programs import Program, standard_program
from .scratch import remove_leftovers, scratch_directory
from .service import end_with_parent, endings
from .settings import ServerSettings
from .supervisor import Supervisor
from .turn.settings import TurnSettings


def parser() -> argparse.ArgumentParser:
    """The options of the server, then those of its services that it offers under names of its own."""
    result = argparse.ArgumentParser(
        prog="python -m reference_server",
        description="A small chatmail server for tests: mail, iroh relay and TURN. "
        "It creates an account for everybody who logs in; do not give it to real users.",
    )
    add_options(result, ServerSettings)
    for settings in (MailSettings, TurnSettings):
        add_options(result, settings, of_server=True)
    return result


async def serve(make: Callable[[], Supervisor], state: Path) -> None:
    """Run a server until somebody asks it to stop."""
    supervisor = make()
    loop = asyncio.get_running_loop()
    for number in endings():
        loop.add_signal_handler(number, supervisor.ask_to_stop)
    end_with_parent(loop, supervisor.ask_to_stop)
    try:
        endpoints = await supervisor.start()
        logging.info("this is a TEST server: it creates accounts for everybody. State is in %s", state)
        sys.stdout.write(json.dumps({"ready": True, "endpoints": endpoints}) + "\n")
        sys.stdout.flush()
        await supervisor.wait_stopped()
    finally:
        await supervisor.close()


def main(
    argv: Sequence[str] | None = None,
    programs: Callable[[str], Program] = standard_program,
    supervisor: Callable[..., Supervisor] = Supervisor,
) -> int:
    """Run the server until a signal; 0 afterwards, 2 for settings that cannot work.

    `check-config FILE...` checks files instead (`config.check_config`).
    """
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["check-config"]:
        from .config import check_config  # noqa: PLC0415 - lark is slow to load

        return check_config.main(words[1:])
    options = parser().parse_args(words)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s server %(levelname)s %(message)s"
    )
    with ExitStack() as stack:
        for number in endings():
            stack.callback(signal.signal, number, signal.signal(number, _end_early))
        try:
            remove_leftovers()
            runtime = stack.enter_context(scratch_directory())
            settings = read_options(ServerSettings, options)
            of_mail, of_turn = (
                stated_options(each, options, of_server=True) for each in (MailSettings, TurnSettings)
            )
            state = settings.state
            if state is None:
                state = stack.enter_context(scratch_directory())
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            state = state.resolve()
            planned = plan(settings, of_mail, of_turn, state=state, runtime=runtime)
            asyncio.run(serve(lambda: supervisor(planned, programs, state=state, runtime=runtime), state))
        except (ConfigurationError, OSError) as error:
            print(f"reference_server: {error}", file=sys.stderr)  # noqa: T201
            return 2
        except KeyboardInterrupt:
            return 0  # asked to stop before it was ready, or while it stopped
    return 0


def _end_early(_number: int, _frame: object) -> None:
    """Before the event loop has handlers: what was made until then is removed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
