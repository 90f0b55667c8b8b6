"""Sends readings to another program as they come, if the user asks for it: OSC or MQTT."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from edge.sinks import json_line
from edge.sources import Frame
from tfau.core import AUReading
from tfau.core.errors import require_extra


class Publisher(ABC):
    """Sends the readings of each frame; a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def send(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Sends the readings of one frame."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection."""


class OscPublisher(Publisher):
    """Sends `PREFIX/FACE/AU12 intensity` for each face and unit that is known, as UDP packets.

    Nothing notices if nobody listens: that is how OSC works.
    """

    def __init__(self, host: str, port: int, prefix: str) -> None:
        require_extra("publish", "pythonosc")
        client = importlib.import_module("pythonosc.udp_client")
        self._client: Any = client.SimpleUDPClient(host, port)
        self._prefix = prefix.rstrip("/") or "/tfau"

    def send(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Sends a packet for each face and unit."""
        del frame  # OSC speaks of now
        for reading in readings:
            number = reading.face.track_id if reading.face else 0
            for name, value in zip(reading.aus.names, reading.intensities, strict=True):
                if not math.isnan(value):
                    self._client.send_message(f"{self._prefix}/{number}/{name}", float(value))

    def close(self) -> None:
        """Closes the socket."""
        self._client.close()


class MqttPublisher(Publisher):
    """Sends the JSON line of each frame to a topic of an MQTT broker, at most once.

    Raises:
        OSError: If the broker cannot be reached.
    """

    def __init__(self, host: str, port: int, topic: str) -> None:
        require_extra("publish", "paho")
        mqtt = importlib.import_module("paho.mqtt.client")
        self._client: Any = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        try:
            self._client.connect(host, port)
        except OSError as error:
            raise OSError(f"The MQTT broker {host}:{port} cannot be reached: {error}") from None
        self._client.loop_start()
        self._topic = topic.strip("/") or "tfau"

    def send(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Sends one message."""
        self._client.publish(self._topic, json_line(frame, readings))

    def close(self) -> None:
        """Says goodbye to the broker."""
        self._client.disconnect()
        self._client.loop_stop()


_KINDS = {"osc": (OscPublisher, 9000), "mqtt": (MqttPublisher, 1883)}


def open_publisher(url: str) -> Publisher:
    """Makes the publisher that a URL names.

    Args:
        url: `osc://HOST:PORT/PREFIX` or `mqtt://HOST:PORT/TOPIC`; port and path may be left out.

    Raises:
        ValueError: If it is another URL.
        MissingExtra: If the package that speaks the protocol is not installed.
        OSError: If nobody answers.
    """
    parts = urlsplit(url)
    try:
        kind, port = _KINDS[parts.scheme]
        host, port = parts.hostname or "", parts.port or port
    except (KeyError, ValueError):
        host = ""
    if not host:
        raise ValueError(
            "`--publish` must be osc://HOST:PORT/PREFIX or mqtt://HOST:PORT/TOPIC. "
            f"Received: --publish={url}"
        )
    return kind(host, port, parts.path)
