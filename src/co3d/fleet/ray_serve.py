"""Live streams on Ray Serve: deployments of engines and of fronts, and their registry.

serve run co3d.fleet.ray_serve:app tokens=tokens.json engines=2
"""

import math
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import ray  # pyright: ignore[reportMissingImports]
import torch
from pydantic import BaseModel, ConfigDict, Field
from ray import serve  # pyright: ignore[reportMissingImports]
from ray.exceptions import ActorDiedError, RayError, RayTaskError  # pyright: ignore[reportMissingImports]
from ray.serve.config import (  # pyright: ignore[reportMissingImports]
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
)
from ray.util.scheduling_strategies import (  # pyright: ignore[reportMissingImports]
    PlacementGroupSchedulingStrategy,
)

from co3d import __version__
from co3d.engine.opening import open_engine
from co3d.errors import Co3dError
from co3d.fleet.engine_host import EngineHost
from co3d.fleet.fleet_service import open_fleet_service
from co3d.fleet.registry import EngineLostError, Orders, Registry
from co3d.models.labels import read_label_file
from co3d.serving.app import make_app
from co3d.serving.settings import ServerSettings, ServingLimits

NAMESPACE = "co3d"
HEAD = "node:__internal_head__"
REPORT_SECONDS = 0.5
ASK_SECONDS, LEAVE_SECONDS, STUCK_SECONDS, START_SECONDS = 5.0, 30.0, 60.0, 300.0
"""Timeouts of an engine: to answer a call, to end all streams, to report, to start."""

HANDING_OVER_SECONDS = 10.0
CALLS_AT_ONCE = 128
TARGET_LOAD, UPSCALE_DELAY_SECONDS = 0.6, 2.0
"""Engines are added beyond this mean load, so that there is room before they refuse at 0.8."""


class FleetOptions(BaseModel):
    """The network of a fleet, its size, and how clients reach it.

    Attributes:
        model, weights, backend, precision, device: as for `open_engine`.
        labels: a file with a class name a line, at the same path of each machine; None for the
            network's own names.
        cpus, gpus: that each engine takes of its machine; it has one worker per CPU.
        engines, most_engines: the minimum and maximum number of engines.
        fronts: replicas that serve clients; with two or more, one may be lost.
        fronts_per_machine: at most; 1 spreads them over machines. None lets Ray choose.
        tokens: a file of hashed tokens, at the same path on each machine.
        public_url: of the proxy that shows Ray Serve's HTTP to others; None for loopback only.
        allowed_sources: what operators may add, as for `ServerSettings`.
        name: of the application; it distinguishes the fleets of one cluster.
    """

    model_config = ConfigDict(extra="forbid")
    model: str = "camera_motion"
    weights: str | None = None
    labels: Path | None = None
    backend: str = "auto"
    precision: str | None = None
    device: str = "cpu"
    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    engines: Annotated[int, Field(ge=1)] = 1
    most_engines: Annotated[int, Field(ge=1)] = 8
    fronts: Annotated[int, Field(ge=1)] = 2
    fronts_per_machine: Annotated[int, Field(ge=1)] | None = None
    tokens: Path | None = None
    public_url: str | None = None
    allowed_sources: tuple[str, ...] = ()
    name: str = "co3d"

    def to_settings(self) -> ServerSettings:
        """Settings for the server's routes and guard; OptionError."""
        return ServerSettings(
            tokens=self.tokens,
            public_url=self.public_url,
            allowed_sources=self.allowed_sources,
            version=__version__,
        )


class RayHandle:
    """Calls an actor's methods from another process, and waits for the results.

    Errors are raised as on the actor; EngineLostError if it does not answer.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(_ask, self._actor, name)


def _ask(actor: Any, method: str, *args: Any, **options: Any) -> Any:
    seconds = LEAVE_SECONDS if method == "leave" else ASK_SECONDS
    try:
        return ray.get(getattr(actor, method).remote(*args, **options), timeout=seconds)
    except RayTaskError as error:
        if isinstance(error.cause, Co3dError):
            raise error.cause from None
        raise
    except RayError as error:
        raise EngineLostError(
            f"cannot {method}: its process is gone or does not answer ({type(error).__name__}); "
            "try again soon"
        ) from error


class RegistryActor(Registry):
    """The registry as an actor, which updates twice a second."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(
            target=self._update_forever, name="co3d updates cameras", daemon=True
        ).start()

    def _update_forever(self) -> None:
        while True:
            self.update_cameras()
            time.sleep(REPORT_SECONDS)


class EngineActor(EngineHost):
    """An engine as an actor, which reports twice a second."""

    def __init__(self, options: FleetOptions) -> None:
        torch.set_num_threads(max(1, math.floor(options.cpus)))
        engine = open_engine(
            options.model,
            weights=options.weights,
            labels=options.labels and read_label_file(options.labels),
            backend=options.backend,
            precision=options.precision,
            device=options.device,
        )
        super().__init__(engine, options.allowed_sources, ServingLimits())
        handle = RayHandle(ray.get_runtime_context().current_actor)
        report = partial(self._report_forever, handle, options.name)
        threading.Thread(target=report, name="co3d reports", daemon=True).start()

    def _report_forever(self, handle: RayHandle, name: str) -> None:
        registry = find_registry(name)
        orders: Orders | None = None
        while True:
            try:
                orders = registry.take_report(handle, self.report(), orders)
                for key in orders.drop:
                    self.remove(key)
            except EngineLostError:  # the registry restarts, or another one is started
                registry = find_registry(name)
            except Co3dError:
                pass  # the camera has ended meanwhile
            self.close_silent()
            time.sleep(REPORT_SECONDS)


def find_registry(name: str) -> Registry:
    """The registry of a fleet, started if there is none."""
    kind: Any = ray.remote(RegistryActor)
    actor = kind.options(
        name=f"registry of {name}",
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=CALLS_AT_ONCE,
        num_cpus=0,
        resources={HEAD: 0.001},  # Ray itself does not survive losing its head node
    ).remote()
    return cast(Registry, RayHandle(actor))


class EngineReplica:
    """A replica of Ray Serve with an engine.

    The engine is an actor of its own, in the replica's placement group: so others call it
    directly, it answers while the replica is drained, and it restarts at once when it dies.
    """

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._registry = find_registry(options.name)
        self._has_left = False
        self._start()

    def check_health(self) -> None:
        """See Ray Serve; restarts a dead engine, and raises for a stuck one."""
        try:
            ray.get(self._actor.report.remote(), timeout=STUCK_SECONDS)
        except ActorDiedError:
            self._start()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """See Ray Serve and `scale_by_load`."""
        waiting = self._registry.count_waiting()
        return {"load": self._handle.report().load, "waiting": float(waiting)}

    def __del__(self) -> None:
        """Hand over all streams when Ray Serve drains the replica."""
        if self._has_left:
            return
        self._has_left = True
        with suppress(EngineLostError):  # a lost engine has nothing to hand over
            engine = self._handle.report().engine
            self._registry.leave(engine, self._handle.leave())
            until = time.monotonic() + HANDING_OVER_SECONDS
            while time.monotonic() < until and not self._handle.has_handed_over():
                time.sleep(REPORT_SECONDS / 5)
        ray.kill(self._actor)

    def _start(self) -> None:
        options = self._options
        placed: Any = ray.util.get_current_placement_group()
        group = PlacementGroupSchedulingStrategy(placed)
        self._actor: Any = (
            ray.remote(EngineActor)
            .options(
                num_cpus=options.cpus,
                num_gpus=options.gpus,
                max_concurrency=CALLS_AT_ONCE,
                scheduling_strategy=group,
            )
            .remote(options)
        )
        ray.get(self._actor.report.remote(), timeout=START_SECONDS)
        self._handle = cast(EngineHost, RayHandle(self._actor))


class FrontReplica:
    """A replica of Ray Serve that serves clients: the server's routes over the fleet.

    Args:
        options: of the fleet. engines: the deployment that must start before this one.
    """

    def __init__(self, options: FleetOptions, engines: Any) -> None:
        settings, registry = options.to_settings(), find_registry(options.name)
        self._engines = engines
        found = registry.list_engines()
        while not found:
            time.sleep(REPORT_SECONDS)
            found = registry.list_engines()
        facts = found[0][1].describe_network()
        self._service = open_fleet_service(settings, registry, facts)

    def __serve_build_asgi_app__(self) -> Any:
        """See `serve.ingress`."""
        return make_app(self._service)

    def __del__(self) -> None:
        """End sessions when Ray Serve drains the replica."""
        self._service.close()


def scale_by_load(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Scale the engines to a mean load of 0.6, with one more while a camera waits for room.

    Args:
        context: holds the values of `EngineReplica.record_autoscaling_stats`.
    """
    metrics = context.aggregated_metrics or {}
    loads = metrics.get("load", {}).values()
    waiting = max(metrics.get("waiting", {}).values(), default=0)
    wanted = math.ceil(sum(loads) / TARGET_LOAD) + (waiting > 0)
    least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(least, min(wanted, most)), {}


def app(options: FleetOptions) -> serve.Application:
    """The application, for `serve run co3d.fleet.ray_serve:app` and `serve.run(app(options))`.

    Raises:
        OptionError: an option is invalid.
    """
    options.to_settings()
    bundle = {"CPU": options.cpus, **({"GPU": options.gpus} if options.gpus else {})}
    engines: Any = serve.deployment(
        EngineReplica,
        name="engines",
        ray_actor_options={"num_cpus": 0},
        placement_group_bundles=[bundle],
        health_check_period_s=1.0,
        health_check_timeout_s=START_SECONDS,
        graceful_shutdown_timeout_s=2 * HANDING_OVER_SECONDS,
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.engines,
            max_replicas=max(options.engines, options.most_engines),
            metrics_interval_s=2.0,
            look_back_period_s=6.0,
            upscale_delay_s=UPSCALE_DELAY_SECONDS,
            policy=AutoscalingPolicy(policy_function=scale_by_load),
        ),
    )
    front: Any = serve.deployment(
        serve.ingress()(FrontReplica),
        name="front",
        num_replicas=options.fronts,
        max_replicas_per_node=options.fronts_per_machine,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=1000,
        health_check_period_s=1.0,
        health_check_timeout_s=5.0,
        graceful_shutdown_timeout_s=HANDING_OVER_SECONDS,
    )
    return front.bind(options, engines.bind(options))
