"""Drives the fakes of those APIs that `drive_fakes.py` does not, through the SDK's own classes."""

import asyncio

from common import connect, refusal, run, tell
from viam.components.arm import Arm, JointPositions
from viam.components.audio_in import AudioIn
from viam.components.audio_out import AudioOut
from viam.components.base import Base, Vector3
from viam.components.button import Button
from viam.components.gantry import Gantry
from viam.components.gripper import Gripper
from viam.components.input import Control, Controller, EventType
from viam.components.movement_sensor import MovementSensor
from viam.components.power_sensor import PowerSensor
from viam.components.servo import Servo
from viam.components.switch import Switch
from viam.proto.common import AudioInfo
from viam.services.discovery import Discovery
from viam.services.slam import SLAM
from viam.services.vision import Vision
from viam.services.worldstatestore import WorldStateStore


async def main(address):
    async with await connect(address) as machine:
        arm = Arm.from_robot(machine, "arm")
        await arm.move_to_joint_positions(JointPositions(values=[10, 20, 30, 40, 50, 60]))
        pose = await arm.get_end_position()
        tell("joints", list((await arm.get_joint_positions()).values))
        await arm.move_to_joint_positions(JointPositions(values=[0] * 6))
        await arm.move_to_position(pose)
        again = await arm.get_end_position()
        tell("arm is back", all(abs(getattr(pose, axis) - getattr(again, axis)) < 0.1 for axis in "xyz"))
        tell("too many joints", await refusal(arm.move_to_joint_positions(JointPositions(values=[0] * 7))))
        kinematics = await arm.get_kinematics()
        tell("kinematics", [kinematics[0], kinematics[1][:1].decode()])

        slow = Arm.from_robot(machine, "slow")
        moving = asyncio.create_task(refusal(slow.move_to_joint_positions(JointPositions(values=[300]))))
        while not await slow.is_moving():
            pass
        await slow.stop()
        tell("stopped on its way", await moving)

        gantry = Gantry.from_robot(machine, "gantry")
        await gantry.move_to_position([30], [])
        tell("gantry", [await gantry.get_position(), await gantry.get_lengths(), await gantry.home()])
        tell("off the gantry", await refusal(gantry.move_to_position([1000], [])))
        gripper = Gripper.from_robot(machine, "gripper")
        await gripper.open()
        tell("gripper", [await gripper.grab(), (await gripper.is_holding_something()).is_holding_something])

        base = Base.from_robot(machine, "base")
        await base.move_straight(100, 50)
        await base.spin(90, 45)
        await base.set_velocity(Vector3(x=0, y=100, z=0), Vector3(x=0, y=0, z=10))
        properties = await base.get_properties()
        tell("base", [properties.width_meters, properties.turning_radius_meters, await base.is_moving()])
        servo = Servo.from_robot(machine, "servo")
        await servo.move(181)
        tell("servo", await servo.get_position())
        switch = Switch.from_robot(machine, "switch")
        await switch.set_position(2)
        tell("switch", [await switch.get_position(), *[list(p) if not isinstance(p, int) else p for p in await switch.get_number_of_positions()]])
        tell("no such position", await refusal(switch.set_position(3)))
        await Button.from_robot(machine, "button").push()

        sensor = MovementSensor.from_robot(machine, "gps")
        place, altitude = await sensor.get_position()
        tell("place", [place.latitude, place.longitude, altitude])
        tell("velocity", [(await sensor.get_linear_velocity()).y, (await sensor.get_angular_velocity()).z])
        tell("readings", sorted(await sensor.get_readings()))
        power = PowerSensor.from_robot(machine, "meter")
        tell("power", [*await power.get_voltage(), *await power.get_current(), await power.get_power()])

        microphone = AudioIn.from_robot(machine, "microphone")
        chunks = [chunk.audio async for chunk in await microphone.get_audio("pcm16", 0.25, 0)]
        tell("audio", [[chunk.sequence, len(chunk.audio_data)] for chunk in chunks])
        speaker = AudioOut.from_robot(machine, "speaker")
        info = AudioInfo(codec="pcm16", sample_rate_hz=8000, num_channels=1)
        await speaker.play(bytes(1600), info)
        tell("no audio", await refusal(speaker.play(b"", info)))

        pad = Controller.from_robot(machine, "pad")
        tell("controls", sorted(control.value for control in await pad.get_controls()))
        heard = asyncio.Event()
        pad.register_control_callback(Control.BUTTON_START, [EventType.BUTTON_PRESS], lambda event: heard.set() if event.event == EventType.BUTTON_PRESS else None)
        await asyncio.wait_for(heard.wait(), 20)
        tell("a button was pressed", heard.is_set())
        pad.register_control_callback(Control.BUTTON_START, [EventType.BUTTON_PRESS], None)

        found = await Discovery.from_robot(machine, "finder").discover_resources()
        tell("found", [[entry.name, entry.api, entry.model] for entry in found])
        slam = SLAM.from_robot(machine, "slam")
        tell("map", b"".join(await slam.get_point_cloud_map())[:20].decode())
        tell("at", round((await slam.get_position()).x))
        vision = Vision.from_robot(machine, "vision")
        [seen] = await vision.get_detections_from_camera("camera")
        tell("seen", [seen.class_name, seen.x_min, seen.y_min, seen.x_max, seen.y_max])
        [shows] = await vision.get_classifications_from_camera("camera", 5)
        tell("shows", shows.class_name)
        tell("no such camera", await refusal(vision.get_detections_from_camera("nowhere")))
        store = WorldStateStore.from_robot(machine, "world")
        tell("transforms", sorted(uuid.decode() for uuid in await store.list_uuids()))
        async for change in store.stream_transform_changes():
            if change.transform.uuid:
                tell("change", change.change_type)
                break


run(main)
