"""Which architectures the general scenarios can take: what transformers and vLLM both have."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from .. import events
from .checkpoints import short_name


def require_architectures(names: Iterable[str]) -> tuple[str, ...]:
    """Return the full names of architectures.

    :raises events.WrongOptions: transformers or vLLM does not have one of them.
    """
    wanted = tuple(names)
    if not wanted:
        return ()
    import transformers
    from vllm import ModelRegistry

    ours = frozenset(dir(transformers))
    theirs = frozenset(ModelRegistry.get_supported_archs())
    return tuple(find_architecture(name, ours, theirs) for name in wanted)


def find_architecture(name: str, ours: Collection[str], theirs: Collection[str]) -> str:
    """Return the architecture that ``name`` means: its own, or what scenarios call it.

    :param ours: what the oracle, transformers, has.
    :param theirs: what vLLM has.
    :raises events.WrongOptions: there is none.

    >>> find_architecture("gemma", ["GemmaForCausalLM"], ["GemmaForCausalLM"])
    'GemmaForCausalLM'
    """
    both = sorted(set(ours).intersection(theirs))
    for one in both:
        if name == one or (name.lower() == short_name(one) and one.endswith("ForCausalLM")):
            return one
    known = {short_name(one): one for one in both}
    near = get_close_matches(short_name(name), known, n=3)
    who = "transformers, the oracle," if name in theirs else "vLLM" if name in ours else None
    raise events.WrongOptions(
        f"--architecture {name}: {who} has no such model"
        if who
        else f"--architecture {name}: neither vLLM nor transformers has such a model",
        f"near: {', '.join(known[one] for one in near)}"
        if near
        else "a name such as LlamaForCausalLM; docs/smoke.md lists which were tried",
    )
