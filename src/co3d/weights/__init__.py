"""Published checkpoints: where they are, reading them, and mapping them to our networks."""

from co3d.weights.catalogue import Figure as Figure
from co3d.weights.catalogue import PublishedWeights as PublishedWeights
from co3d.weights.catalogue import find_weights as find_weights
from co3d.weights.catalogue import list_weights as list_weights
from co3d.weights.catalogue import parse_full_tag as parse_full_tag
from co3d.weights.checkpoints import read_checkpoint as read_checkpoint
from co3d.weights.containers import Checkpoint as Checkpoint
from co3d.weights.download import cache_path as cache_path
from co3d.weights.download import check_file as check_file
from co3d.weights.download import fetch_weights as fetch_weights
from co3d.weights.inspection import Inspection as Inspection
from co3d.weights.inspection import inspect_checkpoint as inspect_checkpoint
from co3d.weights.load import is_finite as is_finite
from co3d.weights.load import load_weights as load_weights
from co3d.weights.origin import identify_weights as identify_weights
from co3d.weights.save import save_weights as save_weights
