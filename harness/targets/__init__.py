"""What is tested: a chatmail server, described by what a client may know about it."""

from .reference import ReferenceServer, ServerError
from .target import Credentials, Impact, Target

__all__ = ["Credentials", "Impact", "ReferenceServer", "ServerError", "Target"]
