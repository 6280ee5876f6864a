"""The families of the zoo: what each is, the clips it takes, and what becomes of it on a stream."""

from zoo.action_families import ACTION
from zoo.further_families import FURTHER

FAMILIES = (*ACTION, *FURTHER)
