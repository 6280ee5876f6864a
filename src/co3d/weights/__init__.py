"""Published checkpoints: where they are, how they are read, and how they fit our networks."""

from co3d.weights.catalogue import PublishedWeights as PublishedWeights
from co3d.weights.catalogue import find_weights as find_weights
from co3d.weights.catalogue import list_weights as list_weights
from co3d.weights.containers import Checkpoint as Checkpoint
from co3d.weights.containers import read_checkpoint as read_checkpoint
from co3d.weights.download import fetch_weights as fetch_weights
from co3d.weights.load import load_weights as load_weights
from co3d.weights.save import save_weights as save_weights
