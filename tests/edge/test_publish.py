"""Publishing: OSC and MQTT as the other side hears them."""

import json
import socket
import threading

import numpy as np
import pytest

from edge.publish import open_publisher
from edge.sources import Frame
from tfau.core import AUReading, AUSet, FaceFrame

FRAME = Frame(0, 40.0, np.zeros((4, 4, 3), np.uint8), "camera 0")


def reading():
    face = FaceFrame(np.zeros((478, 3), "f4"), (4, 4), 40.0, 3)
    return AUReading(
        AUSet([12, 25]),
        np.array([2.5, np.nan], "f4"),
        np.zeros(2, "f4"),
        np.zeros((4, 3), "f4"),
        face,
    )


def test_osc():
    osc = pytest.importorskip("pythonosc.osc_message", reason="needs tfau[publish]")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        with open_publisher(f"osc://127.0.0.1:{listener.getsockname()[1]}/face") as publisher:
            publisher.send(FRAME, [reading()])
        message = osc.OscMessage(listener.recv(1000))
    assert message.address == "/face/3/AU12"  # AU25 is not known, so nothing is said of it
    assert message.params == [2.5]


def packet(stream):
    """Reads one MQTT packet: its kind and what is in it."""
    kind, length, shift = stream.recv(1)[0] >> 4, 0, 0
    while True:
        byte = stream.recv(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, stream.recv(length, socket.MSG_WAITALL) if length else b""


def test_mqtt():
    pytest.importorskip("paho.mqtt", reason="needs tfau[publish]")
    heard = []

    def broker(server):
        stream, _ = server.accept()
        with stream:
            kind, _ = packet(stream)
            heard.append(kind)
            stream.sendall(b"\x20\x02\x00\x00")  # connection accepted
            while heard[-1] != 14 and kind != 14:
                kind, body = packet(stream)
                heard.append((kind, body) if kind == 3 else kind)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=broker, args=(server,), daemon=True)
        thread.start()
        with open_publisher(f"mqtt://127.0.0.1:{server.getsockname()[1]}/lab/face") as publisher:
            publisher.send(FRAME, [reading()])
            for _ in range(200):
                if len(heard) > 1:
                    break
                thread.join(0.02)
        thread.join(5)
    assert heard[0] == 1
    assert heard[-1] == 14
    _, body = next(entry for entry in heard if isinstance(entry, tuple))
    length = int.from_bytes(body[:2], "big")
    assert body[2 : 2 + length] == b"lab/face"
    assert json.loads(body[2 + length :])["faces"][0]["intensities"] == {"AU12": 2.5, "AU25": None}


def test_nobody_answers():
    pytest.importorskip("paho.mqtt", reason="needs tfau[publish]")
    with pytest.raises(OSError, match="cannot be reached"):
        open_publisher("mqtt://127.0.0.1:1/x")


@pytest.mark.parametrize(
    "url", ["", "http://x", "osc://", "osc:x", "osc://h:port", "mqtt://h:99999"]
)
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match="`--publish` must be"):
        open_publisher(url)
