"""Microscope stacks: OME-TIFF and ImageJ hyperstacks with their channels, planes and pixel sizes -> RGB pictures."""

from ragvlm.microscopy.metadata import Channel, StackInfo
from ragvlm.microscopy.stack import PROJECTIONS, View, open_stack, read_info

__all__ = ["PROJECTIONS", "Channel", "StackInfo", "View", "open_stack", "read_info"]
