"""An executor whose worker is a Ray actor.

vLLM replaces its own Ray executor on CPU by `mp`. This one uses the same worker class and the same
entry point for a step, so what the scheduler sends takes the same way: pickled by Ray into another
process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from vllm.executor.ray_utils import RayWorkerWrapper
from vllm.utils import get_distributed_init_method, get_ip, get_open_port
from vllm.v1.executor.abstract import Executor


class Actor(RayWorkerWrapper):
    """The CPU needs no device set on the thread that runs the model."""

    def setup_device_if_necessary(self) -> None:
        pass


class RayActorExecutor(Executor):
    """One worker, in a Ray actor."""

    supports_pp = False

    def _init_executor(self) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("VLLM_", "OMP_", "HF_"))
        }
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": environment},
        )
        self.worker = ray.remote(num_cpus=1)(Actor).remote(vllm_config=self.vllm_config, rpc_rank=0)
        self.steps = 0
        arguments = {
            "vllm_config": self.vllm_config,
            "local_rank": 0,
            "rank": 0,
            "is_driver_worker": True,
            "distributed_init_method": get_distributed_init_method(get_ip(), get_open_port()),
        }
        self.collective_rpc("init_worker", args=([arguments],))
        self.collective_rpc("init_device")
        self.collective_rpc("load_model")

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        non_block: bool = False,
    ) -> list[Any]:
        return [
            ray.get(
                self.worker.execute_method.remote(method, *args, **kwargs or {}), timeout=timeout
            )
        ]

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        self.steps += 1
        return ray.get(self.worker.execute_model_ray.remote((scheduler_output, None)))

    def check_health(self) -> None:
        pass

    def shutdown(self) -> None:
        ray.shutdown()
