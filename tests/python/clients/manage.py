"""Manages the machine: stops, restarts a module, shuts down."""

from common import connect, run, tell
from viam.components.motor import Motor
from viam.components.sensor import Sensor


async def main(address):
    async with await connect(address) as machine:
        motor, probe = Motor.from_robot(machine, "motor"), Sensor.from_robot(machine, "probe")
        await motor.set_power(0.5)
        await machine.stop_all()
        tell("moving", await motor.is_moving())
        tell("operations", [operation.method for operation in await machine.get_operations()])
        before = (await probe.get_readings())["pid"]
        await machine.restart_module(name="eyes")
        # Its resources follow a moment after the module itself.
        after = None
        while after is None:
            await machine.refresh()
            if any(name.name == "probe" for name in machine.resource_names):
                after = (await Sensor.from_robot(machine, "probe").get_readings())["pid"]
        tell("other process", before != after)
        await machine.shutdown()
        tell("shut down", True)


run(main)
