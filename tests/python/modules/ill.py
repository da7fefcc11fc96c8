"""A module that goes wrong when `TRAP` says, as the Rust fixture does: `segv@add`, `sleep@call`, and so on.

`src/fixture/trap.rs` has the list of faults and moments. It springs once for all processes of the module where `TRAP_ONCE`
names a file that is not there yet.
"""

import asyncio
import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

DEED, _, MOMENT = os.environ.get("TRAP", "").partition("@")
ONCE = os.environ.get("TRAP_ONCE")
deaf = False


def spring(moment):
    """Springs the trap if it is set for this moment. What hangs, hangs the event loop and so the whole process."""
    if moment == MOMENT and first():
        DEEDS[DEED]()


def first():
    if not ONCE:
        return True
    try:
        os.close(os.open(ONCE, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def exit2():
    print("ill: the sensor bus is on fire", file=sys.stderr, flush=True)
    os._exit(2)


def without_core_file(death):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    death()


def spin():
    # In the background: other tests want the processors, too.
    os.nice(19)
    while True:
        pass


def be_deaf():
    global deaf
    deaf = True
    # The SDK sets a handler when it starts: where that is still to come, only a mask helps.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


DEEDS = {
    "exit0": lambda: os._exit(0),
    "exit2": exit2,
    "segv": lambda: without_core_file(lambda: ctypes.string_at(0)),
    "abort": lambda: without_core_file(os.abort),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "spin": spin,
    "sleep": lambda: time.sleep(1000),
    "deaf": be_deaf,
}

spring("socket")

from echo_api import Echo, Stamp  # noqa: E402
from viam.module.module import Module  # noqa: E402
from viam.resource.easy_resource import EasyResource  # noqa: E402


class Ill(Echo, EasyResource):
    MODEL = "tests:ill:echo"

    @classmethod
    def validate_config(cls, config):
        spring("validate")
        return [], []

    @classmethod
    def new(cls, config, dependencies):
        self = super().new(config, dependencies)
        spring("add")
        # Long enough for the core to call it READY.
        asyncio.get_running_loop().call_later(0.3, spring, "after")
        return self

    async def say(self, text):
        spring("call")
        return text

    async def counted(self, value):
        if value == 3:
            spring("stream")

    def stamp(self):
        return Stamp(nonce=os.environ["NONCE"], pid=os.getpid())

    async def close(self):
        spring("remove")


class IllModule(Module):
    async def ready(self, request):
        spring("ready")
        return await super().ready(request)


async def main():
    # Returns when SIGTERM came.
    await IllModule.run_from_registry()
    spring("stop")
    while deaf:
        await asyncio.sleep(1000)


if __name__ == "__main__":
    asyncio.run(main())
