"""What runs inside the target's interpreter, for ``smoke`` and for ``bench``.

The target does not have vllm-patchkit installed. ``launch.session`` sends this folder there as the
package ``patchkit_worker``, so its modules import each other relatively and need nothing but the
standard library and what vLLM itself depends on. Importing a module here must not import torch or
vllm; functions do that when they run.
"""
