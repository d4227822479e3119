"""The families of attacks, and how many of ten thousand attacks each makes."""

from __future__ import annotations

from attacks.arrays import Arrays
from attacks.commands import Commands
from attacks.processes import Environments, Kills
from attacks.readers import Readers
from attacks.rpc import Rpc
from attacks.words import Words

FAMILIES = {
    "readers": Readers,
    "words": Words,
    "arrays": Arrays,
    "rpc": Rpc,
    "commands": Commands,
    "environments": Environments,
    "kills": Kills,
}
SHARES = {
    "readers": 6541,
    "words": 1300,
    "arrays": 1000,
    "rpc": 1120,
    "commands": 30,
    "environments": 6,
    "kills": 3,
}
