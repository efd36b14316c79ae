"""A page of a list from its bytes to objects, without a network: that of the devices."""

from benchmarks.cases.decode import case
from benchmarks.lists import DEVICES

CASE = case(DEVICES, "decode-devices")
