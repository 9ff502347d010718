"""What the engines of these tests have: one thread each, on whichever core is free.

By default vLLM ties every engine to the same cores, so that two of them share one while another
idles.
"""

import os

os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "all", "OMP_NUM_THREADS": "1"}
