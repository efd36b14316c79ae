"""A walk over a whole list: that of the devices."""

from benchmarks.cases.walk import case
from benchmarks.lists import DEVICES

CASE = case(DEVICES, "walk-devices")
