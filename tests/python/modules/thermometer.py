"""A sensor by the SDK's easiest way. What it reads, nobody but this process can know."""

import asyncio
import os
import time

from viam.components.sensor import Sensor
from viam.module.module import Module
from viam.resource.easy_resource import EasyResource
from viam.utils import struct_to_dict


class Thermometer(Sensor, EasyResource):
    MODEL = "tests:python:thermometer"

    @classmethod
    def validate_config(cls, config):
        if "offset" in config.attributes.fields and not config.attributes.fields["offset"].HasField("number_value"):
            raise ValueError("attribute `offset` must be a number")
        return [], []

    @classmethod
    def new(cls, config, dependencies):
        self = super().new(config, dependencies)
        self.attributes = struct_to_dict(config.attributes)
        # As constructors do that wait for a device: nothing else runs in this process meanwhile.
        time.sleep(self.attributes.get("block", 0))
        self.logger.info("thermometer %s is warm", config.name)
        return self

    async def get_readings(self, *, extra=None, **kwargs):
        return {
            "nonce": os.environ["NONCE"],
            "pid": os.getpid(),
            "celsius": 20.5 + self.attributes.get("offset", 0),
            "extra": extra or {},
        }

    async def do_command(self, command, **kwargs):
        if "crash" in command:
            os._exit(7)
        if "sleep" in command:
            await asyncio.sleep(command["sleep"])
        # As drivers do that wait for a device: nothing else runs in this process meanwhile.
        time.sleep(command.get("block", 0))
        return {"nonce": os.environ["NONCE"], "command": command}

    async def close(self):
        print(f"thermometer {self.name} closed", flush=True)


if __name__ == "__main__":
    asyncio.run(Module.run_from_registry())
