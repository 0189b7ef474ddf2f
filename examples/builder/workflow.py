"""A day's walk, planned: how long it takes, whether it ends before dark, who must agree, what to carry.

The steps are functions with types; the workflow says which result goes where. mypy checks it as it checks any call.
"""

import math

import msgspec

import stepwell
from stepwell import steps


class Leg(msgspec.Struct):
    """A part of the way: its length, and how much of it goes up."""

    to: str
    km: float
    climb_m: float = 0.0


class Walk(msgspec.Struct):
    """What a party asks for."""

    name: str
    latitude: float
    day_of_year: int
    start_hour: float
    legs: list[Leg]
    people: int = 2


class Duration(msgspec.Struct):
    km: float
    climb_m: float
    hours: float


class Daylight(msgspec.Struct):
    """Hours of local solar time."""

    sunrise: float
    sunset: float


class Margin(msgspec.Struct):
    arrival: str
    hours: float


class Pack(msgspec.Struct):
    water_litres: float
    items: list[str]


@stepwell.step
def walking_time(legs: list[Leg], pace_kmh: float = 5.0) -> Duration:
    """Naismith's rule of 1892: an hour for five kilometres, and half an hour for 300 metres of climb."""
    km, climb = sum(leg.km for leg in legs), sum(leg.climb_m for leg in legs)
    return Duration(km, climb, round(km / pace_kmh + climb / 600, 2))


@stepwell.step
def daylight(latitude: float, day_of_year: int) -> Daylight:
    """When the sun's centre is on the horizon, from the tilt of the Earth's axis alone; refraction adds minutes."""
    tilt = -23.44 * math.cos(2 * math.pi * (day_of_year + 10) / 365)
    cosine = -math.tan(math.radians(latitude)) * math.tan(math.radians(tilt))
    half = math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) / 15
    return Daylight(round(12 - half, 2), round(12 + half, 2))


@stepwell.step
def margin(start_hour: float, hours: float, sunset: float) -> Margin:
    """How long before sunset the party arrives; negative in the dark."""
    arrival = start_hour + hours
    minutes = round(arrival * 60)
    return Margin(f"{minutes // 60:02}:{minutes % 60:02}", round(sunset - arrival, 2))


@stepwell.step
def water(people: int, hours: float) -> float:
    return round(people * hours * 0.4, 1)


@stepwell.step
def items(hours: float, spare_hours: float) -> list[str]:
    found = ["map", "compass", "whistle"]
    if hours > 4:
        found.append("lunch")
    if spare_hours < 1:
        found.append("lamps")
    return found


@stepwell.step
def sheet(walk: Walk, took: Duration, spare: Margin, pack: Pack) -> str:
    way = " - ".join(leg.to for leg in walk.legs)
    return (
        f"{walk.name}: {way}, {took.km:g} km, {took.climb_m:g} m up, {took.hours:g} h; there at {spare.arrival}, "
        f"{spare.hours:+g} h to sunset. Carry {pack.water_litres:g} l of water, {', '.join(pack.items)}."
    )


@stepwell.workflow("pack", version="1")
def pack(people: int, hours: float, spare_hours: float) -> Pack:
    """What a party carries."""
    return Pack(water(people, hours), items(hours, spare_hours))


@stepwell.workflow("plan-walk", version="1", tags=["example"], input_schema=Walk)
def plan_walk(walk: Walk) -> str:
    """Plans a day's walk; a warden must agree where it ends in the dark."""
    took = walking_time(walk.legs)
    light = daylight(walk.latitude, walk.day_of_year)
    spare = margin(walk.start_hour, took.hours, light.sunset)
    with stepwell.when(spare.hours < 0):
        agreed = steps.approval_gate(
            f"{walk.name} ends at {spare.arrival}, after sunset", approvers=["warden"], id="agreed"
        )
    carried = pack(walk.people, took.hours, spare.hours)
    return sheet.using(after=[agreed])(walk, took, spare, carried)
