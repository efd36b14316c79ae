"""A campaign over many devices, from its plan to its end, against a service that takes no time: over 5,000."""

from benchmarks.cases.campaign import case

CASE = case("campaign-5000", 5_000, rounds=2)
