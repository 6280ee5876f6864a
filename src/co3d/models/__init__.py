"""Plain clip networks by name."""

from co3d.models import c2d as c2d
from co3d.models import camera_motion as camera_motion  # importing a family registers it
from co3d.models import csn as csn
from co3d.models import i3d as i3d
from co3d.models import movinet as movinet
from co3d.models import r2plus1d as r2plus1d
from co3d.models import r2plus1d_r34 as r2plus1d_r34
from co3d.models import r2plus1d_r50 as r2plus1d_r50
from co3d.models import s3d as s3d
from co3d.models import slow as slow
from co3d.models import slowfast as slowfast
from co3d.models import slowfast_mmaction as slowfast_mmaction
from co3d.models import tsm as tsm
from co3d.models import video_resnet as video_resnet
from co3d.models import x3d as x3d
from co3d.models.card import ModelCard as ModelCard
from co3d.models.card import find_card as find_card
from co3d.models.clip_model import ClipModel as ClipModel
from co3d.models.registry import create_model as create_model
from co3d.models.registry import create_trained_model as create_trained_model
from co3d.models.registry import get_card as get_card
from co3d.models.registry import has_own_weights as has_own_weights
from co3d.models.registry import list_models as list_models
from co3d.models.registry import register_model as register_model
from co3d.models.saved import save_model as save_model
