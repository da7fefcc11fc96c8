"""A camera and a vision service as made with SDKs from before mime types.

Of an image those fill only `format`, which today's definitions reserve, so its bytes are put together by hand."""

import asyncio

from viam.components.camera import Camera
from viam.components.camera.service import CameraRPCService
from viam.module.module import Module
from viam.proto.component.camera import GetImagesResponse
from viam.proto.service.vision import CaptureAllFromCameraResponse
from viam.resource.easy_resource import EasyResource
from viam.services.vision import Vision
from viam.services.vision.service import VisionRPCService
from viam.utils import struct_to_dict


def varint(number):
    more = b""
    while number > 127:
        more += bytes([number & 127 | 128])
        number >>= 7
    return more + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def image(picture):
    content = bytes.fromhex(picture.get("begins", ""))
    content += bytes(int(picture.get("size", 100)) - len(content))
    form = int(picture.get("format", 0))
    parts = [field(1, b"eye"), varint(2 << 3) + varint(form) if form else b"", field(3, content)]
    if "mime_type" in picture:
        parts.append(field(4, picture["mime_type"].encode()))
    return field(1, b"".join(parts))


class Old:
    @classmethod
    def new(cls, config, dependencies):
        self = super().new(config, dependencies)
        self.images = [image(picture) for picture in struct_to_dict(config.attributes)["pictures"]]
        return self


class OldCamera(Old, Camera, EasyResource):
    MODEL = "tests:python:old-camera"


class OldVision(Old, Vision, EasyResource):
    MODEL = "tests:python:old-vision"


async def get_images(self, stream):
    request = await stream.recv_message()
    images = self.get_resource(request.name).images
    await stream.send_message(GetImagesResponse.FromString(b"".join(images)))


async def capture_all(self, stream):
    request = await stream.recv_message()
    images = self.get_resource(request.name).images
    await stream.send_message(CaptureAllFromCameraResponse.FromString(images[0]))


# They need nothing of what such a resource usually has.
OldCamera.__abstractmethods__ = frozenset()
OldVision.__abstractmethods__ = frozenset()
CameraRPCService.GetImages = get_images
VisionRPCService.CaptureAllFromCamera = capture_all

if __name__ == "__main__":
    asyncio.run(Module.run_from_registry())
