"""A motor that comes to rest when its process is told to end, and writes that down where STOPPED says."""

import asyncio
import os

from viam.components.motor import Motor
from viam.module.module import Module
from viam.resource.easy_resource import EasyResource

WHEELS = []


class Wheel(Motor, EasyResource):
    MODEL = "tests:python:wheel"

    @classmethod
    def new(cls, config, dependencies):
        self = super().new(config, dependencies)
        self.power = 0.0
        WHEELS.append(self)
        return self

    async def set_power(self, power, *, extra=None, timeout=None, **kwargs):
        self.power = power

    async def stop(self, *, extra=None, timeout=None, **kwargs):
        if self.power:
            self.power = 0.0
            with open(os.environ["STOPPED"], "a") as file:
                file.write("stopped\n")

    async def is_powered(self, *, extra=None, timeout=None, **kwargs):
        return self.power != 0, self.power

    async def is_moving(self):
        return self.power != 0

    async def get_position(self, *, extra=None, timeout=None, **kwargs):
        return 0.0

    async def get_properties(self, *, extra=None, timeout=None, **kwargs):
        return Motor.Properties(position_reporting=False)

    async def go_for(self, rpm, revolutions, *, extra=None, timeout=None, **kwargs):
        raise NotImplementedError()

    async def go_to(self, rpm, position_revolutions, *, extra=None, timeout=None, **kwargs):
        raise NotImplementedError()

    async def set_rpm(self, rpm, *, extra=None, timeout=None, **kwargs):
        raise NotImplementedError()

    async def do_command(self, command, *, timeout=None, **kwargs):
        await asyncio.sleep(command.get("sleep", 0))
        return {}

    async def reset_zero_position(self, offset, *, extra=None, timeout=None, **kwargs):
        raise NotImplementedError()


async def main():
    # Returns when SIGTERM came; the SDK leaves the resources to whoever wrote them.
    await Module.run_from_registry()
    for wheel in WHEELS:
        await wheel.stop()


if __name__ == "__main__":
    asyncio.run(main())
