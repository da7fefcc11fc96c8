"""A machine that is none of ours: components behind the SDK's own RPC server, as its `examples/server` has them."""

import asyncio
import sys

from viam.components.motor import Motor
from viam.components.sensor import Sensor
from viam.rpc.server import Server


class Thermometer(Sensor):
    async def get_readings(self, **kwargs):
        return {"celsius": 21.5, "name": self.name}

    async def do_command(self, command, **kwargs):
        return {"heard": command}


class Wheel(Motor):
    power = 0.0

    async def set_power(self, power, **kwargs):
        self.power = power

    async def go_for(self, rpm, revolutions, **kwargs):
        pass

    async def go_to(self, rpm, position_revolutions, **kwargs):
        pass

    async def set_rpm(self, rpm, **kwargs):
        pass

    async def reset_zero_position(self, offset, **kwargs):
        pass

    async def get_position(self, **kwargs):
        return 4.25

    async def get_properties(self, **kwargs):
        return Motor.Properties(position_reporting=True)

    async def stop(self, **kwargs):
        self.power = 0.0

    async def is_powered(self, **kwargs):
        return self.power != 0, self.power

    async def is_moving(self):
        return self.power != 0


async def main(_machine, port):
    await Server([Thermometer("thermometer"), Wheel("wheel")]).serve(host="127.0.0.1", port=int(port))


asyncio.run(main(*sys.argv[1:]))
