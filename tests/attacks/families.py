"""The families of attacks, and how many of a hundred attacks each makes."""

from __future__ import annotations

from attacks.damage import Damage
from attacks.processes import Environments, Kills
from attacks.rpc import Rpc

FAMILIES = {"damage": Damage, "rpc": Rpc, "kills": Kills, "environments": Environments}
SHARES = {"damage": 70, "rpc": 27, "kills": 1, "environments": 2}
