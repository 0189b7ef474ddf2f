"""The Python front door: register, start, watch and steer workflows."""

from stepwell.client.client import Client

__all__ = ["Client"]
