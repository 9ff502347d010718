"""Load checkpoints as an engine does, in vLLM's interpreter: one line of JSON for each folder.

``python load_model.py FOLDER ...``; a line is null, or what the load ended with; ``--trust`` runs
the code that they bring. Also asked of single files: ``--headers FILE ...`` opens each with the
safetensors package.
"""

import json
import os
import sys
from functools import partial


def main() -> None:
    """Load each folder that is named."""
    if sys.argv[1] == "--headers":
        tell(open_file, sys.argv[2:])
        return
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.utils import get_distributed_init_method, get_open_port

    init_distributed_environment(
        1, 0, get_distributed_init_method("127.0.0.1", get_open_port()), 0, "gloo"
    )
    initialize_model_parallel(1, 1)
    trust = sys.argv[1] == "--trust"
    tell(partial(load, trust=trust), sys.argv[1 + trust :])


def load(path: str, trust: bool) -> None:
    """Read configuration, tokenizer and weights."""
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model
    from vllm.transformers_utils.tokenizer import get_tokenizer

    args = EngineArgs(model=path, enforce_eager=True, trust_remote_code=trust)
    engine = args.create_engine_config()
    get_tokenizer(path, trust_remote_code=trust)
    with set_current_vllm_config(engine):
        get_model(vllm_config=engine)


def open_file(path: str) -> None:
    """Let the safetensors package read a header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        opened.keys()


def tell(act, paths) -> None:
    """Print how each went; others may print in between."""
    for path in paths:
        try:
            act(path)
            said = None
        except Exception as error:
            said = f"{type(error).__name__}: {str(error)[:200]}"
        print("\nloaded " + json.dumps([path, said]), flush=True)


main()
