"""A sensor that needs a motor which lives in another module, written in another language."""

import asyncio
import os

from viam.components.motor import Motor
from viam.components.sensor import Sensor
from viam.module.module import Module
from viam.resource.easy_resource import EasyResource


class Tachometer(Sensor, EasyResource):
    MODEL = "tests:python:tachometer"

    @classmethod
    def validate_config(cls, config):
        motor = config.attributes.fields["motor"].string_value
        if not motor:
            raise ValueError("attribute `motor` must name a motor")
        return [motor], []

    @classmethod
    def new(cls, config, dependencies):
        self = super().new(config, dependencies)
        name = config.attributes.fields["motor"].string_value
        self.motor = dependencies[Motor.get_resource_name(name)]
        return self

    async def get_readings(self, *, extra=None, **kwargs):
        powered, power = await self.motor.is_powered()
        return {"nonce": os.environ["NONCE"], "pid": os.getpid(), "powered": powered, "power": power}

    async def do_command(self, command, **kwargs):
        if "power" in command:
            await self.motor.set_power(command["power"])
        return {"position": await self.motor.get_position()}


if __name__ == "__main__":
    asyncio.run(Module.run_from_registry())
