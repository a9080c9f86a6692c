"""How numbers are made coarse (`families.py` has the steps, and why).

Gauges are rounded up, ages down. What only grows is not, for one reason. Some people can count a number up
themselves, by cells that they send or faults that they cause. They could stand just below a step and wait for
one that is not theirs. So the place in a step at which a counter goes up is drawn, anew for each step.
Wherever somebody stands, one more shows once in as many as a step has. The first step is taken at once, so
that what happened at all is never shown as nothing.
"""

from __future__ import annotations

import math

from onionshh.cli.metrics.families import Family, Sample, Step
from onionshh.core.base.chance import Chance

_Name = tuple[Family, tuple[str, ...]]


class Rounding:
    """Rounds the samples of one process. It remembers, for each counter, where its present step is taken."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._places: dict[_Name, tuple[int, int]] = {}
        """For each counter: the step in which it is, and the count at which that step is taken."""

    def shown(self, sample: Sample) -> float:
        """The value as it is exposed."""
        family = sample.family
        if not family.step:
            return sample.value
        if family.shown is Step.DRAWN:
            return self._counted((family, tuple(sample.labels.values())), int(sample.value), int(family.step))
        whole = math.ceil if family.shown is Step.UP else math.floor
        return round(whole(sample.value / family.step) * family.step, 6)

    def _counted(self, name: _Name, count: int, step: int) -> float:
        done = count // step
        known, place = self._places.get(name, (-1, 0))
        if known != done:
            place = done * step + 1 + (self._chance.below(step) if done else 0)
            self._places[name] = done, place
        return float((done + (count >= place)) * step)
