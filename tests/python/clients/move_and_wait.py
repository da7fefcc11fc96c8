"""A control program: sets a motor turning, says so, and goes on living until somebody ends it."""

import asyncio

from common import connect, run, tell
from viam.components.motor import Motor


async def main(address, *motors):
    async with await connect(address) as machine:
        for name in motors:
            await Motor.from_robot(machine, name).set_power(0.7)
        tell("moving", [await Motor.from_robot(machine, name).is_moving() for name in motors])
        await asyncio.sleep(3600)


run(main)
