"""What an Emu3.5 engine must generate, from the description of the model alone.

A float32 model without caches, recomputed for every token, and guidance and image grammar in plain
Python. Nothing here is imported from vLLM, and nothing in vLLM is imported from here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from checkpoint import Checkpoint, Vocabulary

TEXT_TOP_K, TEXT_TOP_P = 1024, 0.9
VISUAL_TOP_K, VISUAL_TOP_P = 5120, 1.0


class Model:
    """The decoder: tokens in, logits of every position out."""

    def __init__(self, checkpoint: Checkpoint, eps: float = 1e-6, theta: float = 1e6):
        self.shape, self.weights, self.eps = checkpoint.shape, checkpoint.weights, eps
        half = self.shape.head_dim // 2
        angles = torch.outer(
            torch.arange(self.shape.positions, dtype=torch.float64),
            theta ** (-torch.arange(half, dtype=torch.float64) / half),
        )
        self.cos, self.sin = angles.cos().float(), angles.sin().float()

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return (
            x
            * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
            * self.weights[f"{name}.weight"]
        )

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary embedding of (tokens, heads, head_dim), first half against second half."""
        cos, sin = self.cos[: len(x), None], self.sin[: len(x), None]
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def attention(self, prefix: str, x: torch.Tensor) -> torch.Tensor:
        length, dim = len(x), self.shape.head_dim
        q = self.linear(f"{prefix}.q_proj", x).view(length, self.shape.heads, dim)
        k = self.linear(f"{prefix}.k_proj", x).view(length, self.shape.kv_heads, dim)
        v = self.linear(f"{prefix}.v_proj", x).view(length, self.shape.kv_heads, dim)
        q = self.rotate(self.norm(f"{prefix}.q_norm", q))
        k = self.rotate(self.norm(f"{prefix}.k_norm", k))
        repeat = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(dim)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, v).reshape(length, -1)
        return self.linear(f"{prefix}.o_proj", mixed)

    def mlp(self, prefix: str, x: torch.Tensor) -> torch.Tensor:
        gate = F.silu(self.linear(f"{prefix}.gate_proj", x))
        return self.linear(f"{prefix}.down_proj", gate * self.linear(f"{prefix}.up_proj", x))

    @torch.inference_mode()
    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """The logits after every token, (tokens, vocabulary)."""
        x = self.weights["model.embed_tokens.weight"][list(tokens)]
        for layer in range(self.shape.layers):
            prefix = f"model.layers.{layer}"
            x = x + self.attention(f"{prefix}.self_attn", self.norm(f"{prefix}.input_layernorm", x))
            x = x + self.mlp(f"{prefix}.mlp", self.norm(f"{prefix}.post_attention_layernorm", x))
        return self.linear("lm_head", self.norm("model.norm", x))


def forced_size(width: int, height: int, area: int) -> str:
    """The size that a request asks for, in visual tokens: `h*w`."""
    ratio = int(math.sqrt(area / (height * width)))
    return f"{int(height * ratio / 16)}*{int(width * ratio / 16)}"


@dataclass
class Grammar:
    """Reads tokens one by one and says which may come next."""

    vocabulary: Vocabulary
    size: str | None = None
    """The size that the next image must have; None where it is free."""
    same_size: bool = True
    opened: list[int] = field(default_factory=list)
    """The tokens of the image being written, from BOI on; empty in text."""

    def read_prompt(self, tokens: Sequence[int]) -> Grammar:
        """The sizes of images in a prompt bind nobody, unless the output goes on writing the last
        one.
        """
        for token in tokens:
            self.push(token)
        self.keep_size()
        return self

    def read_output(self, tokens: Sequence[int]) -> Grammar:
        for token in tokens:
            self.push(token)
            self.keep_size()
        return self

    def push(self, token: int) -> None:
        v = self.vocabulary
        if self.opened and not self.in_pixels and not self.continues_header(token):
            self.opened = []
        if self.opened or token == v.boi:
            self.opened.append(token)
        if token == v.eoi:
            self.opened = []

    def continues_header(self, token: int) -> bool:
        """Whether `token` may follow the digits so far. A prompt may have a BOI that opens no
        image.
        """
        written = "".join(self.characters(self.opened[1:]))
        if token == self.vocabulary.img:
            return bool(re.fullmatch(r"[1-9][0-9]*\*[1-9][0-9]*", written))
        return bool(self.characters([token]))

    def characters(self, tokens: Sequence[int]) -> list[str]:
        names = {self.vocabulary.digit(character): character for character in "0123456789*"}
        return [names[token] for token in tokens if token in names]

    def keep_size(self) -> None:
        """After the first image, the later ones repeat its size or are free again."""
        if self.in_pixels:
            self.size = self.written_size() if self.same_size else None

    def written_size(self) -> str:
        return "".join(self.characters(self.opened[1 : self.opened.index(self.vocabulary.img)]))

    @property
    def in_pixels(self) -> bool:
        return self.vocabulary.img in self.opened

    def allowed(self) -> list[int]:
        v = self.vocabulary
        if not self.opened:
            return [token for token in range(v.size) if not v.is_visual(token)]
        if not self.in_pixels:
            return self.allowed_in_size(len(self.opened))
        height, width = map(int, self.written_size().split("*"))
        position = len(self.opened) - self.opened.index(v.img)
        if position == height * (width + 1):
            return [v.eoi]
        if position % (width + 1) == 0:
            return [v.eol]
        return [v.visual_start + code for code in range(v.visual_size)]

    def allowed_in_size(self, position: int) -> list[int]:
        """The tokens at 1-based `position` after BOI, before IMG."""
        v = self.vocabulary
        if self.size is not None:
            forced = [*v.digits(self.size), v.img]
            return [forced[position - 1]]
        return {
            1: v.digits("123456789"),
            2: v.digits("0123456789"),
            3: [v.star],
            4: v.digits("123456789"),
            5: v.digits("0123456789"),
            6: [v.img],
        }[position]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a caller asks for."""

    prompt: list[int]
    uncond: list[int] | None = None
    uncond_no_image: list[int] | None = None
    scale: float = 1.0
    image_scale: float = 1.0
    size: str | None = None
    same_size: bool = True
    max_tokens: int = 64
    stop: tuple[int, ...] = ()
    logit_bias: dict[int, float] = field(default_factory=dict)


def open_image(vocabulary: Vocabulary, tokens: Sequence[int]) -> list[int]:
    """The end of `tokens` from the BOI of an image that is not closed; empty if there is none."""
    return Grammar(vocabulary).read_prompt(tokens).opened


class Oracle:
    """Generates for a request, one token at a time."""

    def __init__(self, checkpoint: Checkpoint):
        self.model, self.vocabulary = Model(checkpoint), checkpoint.vocabulary

    def written_images(self, request: Request, output: Sequence[int]) -> list[list[int]]:
        """The tokens of `output` that belong to images, image by image; the first may have begun
        in the prompt.
        """
        inside = bool(open_image(self.vocabulary, request.prompt))
        images: list[list[int]] = [[]] if inside else []
        for token in output:
            if not inside and token == self.vocabulary.boi:
                images.append([])
                inside = True
            if inside:
                images[-1].append(token)
                inside = token != self.vocabulary.eoi
        return images

    def with_open_image(self, request: Request, prompt: list[int]) -> list[int]:
        """A stream's prompt, ending with the image that the conditional prompt has open."""
        opened = open_image(self.vocabulary, request.prompt)
        return prompt if prompt[len(prompt) - len(opened) :] == opened else [*prompt, *opened]

    def unconditional(
        self, request: Request, prompt: list[int], output: Sequence[int]
    ) -> list[int]:
        """The unconditional stream: its prompt and every image of the output, without the text
        between them.
        """
        written = [token for image in self.written_images(request, output) for token in image]
        return [*self.with_open_image(request, prompt), *written]

    def without_image(
        self, request: Request, prompt: list[int], output: Sequence[int]
    ) -> list[int]:
        """The stream without the reference image: its prompt and the image being written."""
        images = self.written_images(request, output)
        base = self.with_open_image(request, prompt) if len(images) == 1 else prompt
        return [*base, *images[-1]]

    def guided_logits(
        self, request: Request, output: Sequence[int], *, in_pixels: bool
    ) -> torch.Tensor:
        """Logits of the next token before the grammar's mask, as log-probabilities."""
        logits = self.model.logits([*request.prompt, *output])[-1].clone()
        for token, bias in request.logit_bias.items():
            logits[token] += bias
        c = logits.log_softmax(-1)
        if not in_pixels or request.uncond is None:
            return c
        u = self.model.logits(self.unconditional(request, request.uncond, output))[-1].log_softmax(
            -1
        )
        if request.uncond_no_image is None:
            return u + request.scale * (c - u)
        n = self.model.logits(self.without_image(request, request.uncond_no_image, output))[
            -1
        ].log_softmax(-1)
        return n + request.image_scale * (u - n) + request.scale * (c - u)

    def next_logits(self, request: Request, output: Sequence[int]) -> torch.Tensor:
        """Masked logits of the token after `output`."""
        grammar = Grammar(self.vocabulary, request.size, request.same_size)
        grammar.read_prompt(request.prompt).read_output(output)
        logits = self.guided_logits(request, output, in_pixels=grammar.in_pixels)
        masked = torch.full_like(logits, -math.inf)
        allowed = grammar.allowed()
        masked[allowed] = logits[allowed]
        return masked

    def generate(self, request: Request) -> list[int]:
        """The greedy output."""
        output: list[int] = []
        while len(output) < request.max_tokens:
            token = int(self.next_logits(request, output).argmax())
            output.append(token)
            if token in (*request.stop, self.vocabulary.eos):
                break
        return output


def probabilities(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float
) -> torch.Tensor:
    """What one draw follows: temperature, then the `top_k` likeliest, then the fewest of these
    that reach `top_p`.
    """
    probs = (logits / temperature).softmax(-1)
    order = probs.argsort(descending=True, stable=True)
    kept = probs[order][:top_k] / probs[order][:top_k].sum()
    before = kept.cumsum(0) - kept
    kept = torch.where(before < top_p, kept, 0.0)
    result = torch.zeros_like(probs)
    result[order[:top_k]] = kept / kept.sum()
    return result
