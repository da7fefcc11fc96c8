"""Connects in every way that works without TLS and without a cloud, the SDK's own core (which tries WebRTC) included."""

from common import RobotClient, run, tell
from viam.components.sensor import Sensor
from viam.rpc.dial import DialOptions

WAYS = {
    "core": {"insecure": True},
    "core, downgrade": {"allow_insecure_downgrade": True},
    "direct": {"disable_webrtc": True, "insecure": True},
    "direct, downgrade": {"disable_webrtc": True, "allow_insecure_downgrade": True},
}


async def main(address):
    port = address.rsplit(":", 1)[1]
    ways = [(f"127.0.0.1:{port}", way) for way in WAYS] + [(f"localhost:{port}", "core")]
    for host, way in ways:
        options = RobotClient.Options(dial_options=DialOptions(**WAYS[way], timeout=5))
        async with await RobotClient.at_address(host, options) as machine:
            readings = await Sensor.from_robot(machine, "sensor").get_readings()
        tell(f"{host.split(':')[0]} {way}", readings)


run(main)
