"""An API of its own, with all four kinds of calls."""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from echo_api import Echo, Stamp  # noqa: E402
from viam.module.module import Module  # noqa: E402
from viam.resource.easy_resource import EasyResource  # noqa: E402


class Parrot(Echo, EasyResource):
    MODEL = "tests:python:parrot"
    moves = 0
    stops = 0

    async def say(self, text):
        return text

    def stamp(self):
        return Stamp(nonce=os.environ["NONCE"], pid=os.getpid())

    async def do_command(self, command, **kwargs):
        return {"nonce": os.environ["NONCE"], "command": command}


if __name__ == "__main__":
    asyncio.run(Module.run_from_registry())
