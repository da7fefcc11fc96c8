"""Drives one fake of each kind through the SDK's own classes."""

from common import connect, refusal, run, tell
from viam.components.board import Board
from viam.components.camera import Camera
from viam.components.encoder import Encoder
from viam.components.generic import Generic
from viam.components.motor import Motor
from viam.components.sensor import Sensor
from viam.services.generic import Generic as GenericService


async def main(address):
    async with await connect(address) as machine:
        names = [f"{n.namespace}:{n.type}:{n.subtype}/{n.name}" for n in machine.resource_names]
        tell("names", names)
        version = await machine.get_version()
        tell("version", [version.platform, version.version, version.api_version])
        status = await machine.get_machine_status()
        tell("status", [[r.name.name, r.state] for r in status.resources])

        sensor = Sensor.from_robot(machine, "sensor")
        tell("readings", await sensor.get_readings())

        motor = Motor.from_robot(machine, "motor")
        properties = await motor.get_properties()
        tell("motor reports positions", properties.position_reporting)
        await motor.reset_zero_position(0)
        await motor.set_power(0.5)
        tell("power", await motor.is_powered())
        tell("moving", await motor.is_moving())
        position = first = await motor.get_position()
        while position <= first:
            position = await motor.get_position()
        tell("position advanced", position > first)
        await motor.stop()
        tell("stopped", [await motor.is_powered(), await motor.is_moving()])
        await motor.go_for(6000, 2)
        tell("moving after go_for", await motor.is_moving())
        tell("plain motor", await refusal(Motor.from_robot(machine, "plain").get_position()))
        await Motor.from_robot(machine, "plain").set_power(-0.25)
        tell("plain power", await Motor.from_robot(machine, "plain").is_powered())

        encoder = Encoder.from_robot(machine, "encoder")
        await encoder.reset_position()
        tell("encoder", list(await encoder.get_position()))

        board = Board.from_robot(machine, "board")
        pin = await board.gpio_pin_by_name("15")
        await pin.set(True)
        tell("pin", await pin.get())
        await pin.set_pwm(0.25)
        await pin.set_pwm_frequency(800)
        tell("pwm", [await pin.get_pwm(), await pin.get_pwm_frequency()])
        writable = await board.analog_by_name("writable")
        await writable.write(42)
        value = await writable.read()
        tell("analog", [value.value, value.min_range, value.max_range])
        counting = await board.digital_interrupt_by_name("button")
        tell("interrupt", [await counting.value(), await counting.value()])
        ticks = await board.stream_ticks([counting])
        async for tick in ticks:
            # The first message has no tick; it says that the stream is up.
            if tick.pin_name:
                tell("tick", tick.pin_name)
                break
        tell("no such analog", await refusal((await board.analog_by_name("nope")).read()))

        camera = Camera.from_robot(machine, "camera")
        images, metadata = await camera.get_images()
        tell("images", [[image.name, image.mime_type, len(image.data), image.data[:3].hex()] for image in images])
        tell("captured at", metadata.captured_at.seconds > 0)
        cloud, kind = await camera.get_point_cloud()
        tell("point cloud", [kind, cloud[:40].decode(errors="replace"), len(cloud)])
        tell("camera", (await camera.get_properties()).supports_pcd)
        tell("box", [g.label for g in await camera.get_geometries()])

        command = {"text": "hello", "number": 1.5, "list": [1, "two", None], "nested": {"yes": True}}
        tell("generic", await Generic.from_robot(machine, "generic").do_command(command))
        tell("generic service", await GenericService.from_robot(machine, "helper").do_command(command))
        tell("status of one", await Generic.from_robot(machine, "generic").get_status())
        tell("no commands", await refusal(sensor.do_command({"x": 1})))
        tell("cloud", await refusal(machine.get_cloud_metadata()))


run(main)
