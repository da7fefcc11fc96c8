"""Keeps a motor turning for several windows: the SDK's heartbeats keep the session alive."""

import asyncio

from common import connect, run, tell
from viam.components.motor import Motor
from viam.proto.robot import GetSessionsRequest


async def main(address, windows_s):
    async with await connect(address) as machine:
        motor = Motor.from_robot(machine, "motor")
        await motor.set_power(0.3)
        before = await machine._client.GetSessions(GetSessionsRequest())
        await asyncio.sleep(float(windows_s))
        after = await machine._client.GetSessions(GetSessionsRequest())
        tell("moving", await motor.is_moving())
        tell("sessions", [[s.id for s in before.sessions], [s.id for s in after.sessions]])
        tell("peer", [s.peer_connection_info.type for s in after.sessions])
        await motor.stop()


run(main)
