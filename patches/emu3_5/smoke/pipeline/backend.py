"""Where a request is answered: an ``LLM`` in this process, or ``vllm serve`` elsewhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_patchkit.errors import HostError, PatchkitError, UsageError

from ..vocabulary import Vocabulary, published_vocabulary

DEFAULT_TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request in the words that both backends share.

    :param extra: guidance, size and sampling per region, by the engine's names.
    """

    prompt: str
    uncond: str | None
    uncond_no_image: str | None
    stop_token_ids: tuple[int, ...]
    max_tokens: int
    seed: int | None
    temperature: float
    extra: dict[str, Any]


class Backend(Protocol):
    """Answers requests with token ids."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's token ids."""
        ...

    def complete(self, requests: Sequence[Request]) -> list[tuple[int, ...]]:
        """Return each request's tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ``tokens``."""
        ...


class LLMBackend:
    """An ``LLM`` (vLLM's offline engine) in this process."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm
        config = llm.llm_engine.model_config.hf_config
        self._vocabulary = published_vocabulary(config.to_dict())

    @property
    def vocabulary(self) -> Vocabulary:
        """The token ids that the model's config names."""
        return self._vocabulary

    def complete(self, requests: Sequence[Request]) -> list[tuple[int, ...]]:
        """Run all requests in one batch."""
        from vllm import SamplingParams

        prompts = [self._prompt(request) for request in requests]
        params = [
            SamplingParams(
                temperature=request.temperature,
                seed=request.seed,
                max_tokens=request.max_tokens,
                stop_token_ids=list(request.stop_token_ids),
                extra_args=request.extra or None,
            )
            for request in requests
        ]
        results = self.llm.generate(prompts, params, use_tqdm=False)
        return [tuple(result.outputs[0].token_ids) for result in results]

    @staticmethod
    def _prompt(request: Request) -> dict[str, str]:
        prompts = {
            "prompt": request.prompt,
            "uncond_prompt": request.uncond,
            "uncond_no_image_prompt": request.uncond_no_image,
        }
        return {name: text for name, text in prompts.items() if text is not None}

    def decode(self, tokens: Sequence[int]) -> str:
        """Decode with the engine's tokenizer."""
        return str(self.llm.get_tokenizer().decode(list(tokens)))


class ServerBackend:
    """``vllm serve``, through its completions API.

    :param url: with or without ``/v1``.
    :param model: the served name; None asks the server.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        vocabulary: Vocabulary | None = None,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.api_key = api_key
        self.timeout_s = timeout_s
        self.model = model or str(self._call("/v1/models")["data"][0]["id"])
        size = {"vocab_size": 282926}
        self._vocabulary = vocabulary or published_vocabulary(size)

    @property
    def vocabulary(self) -> Vocabulary:
        """The token ids given, or those of the published checkpoints."""
        return self._vocabulary

    def complete(self, requests: Sequence[Request]) -> list[tuple[int, ...]]:
        """Send all requests at once; the server batches what arrives together."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=max(1, len(requests))) as pool:
            return list(pool.map(self._complete, requests))

    def _complete(self, request: Request) -> tuple[int, ...]:
        body = {
            "model": self.model,
            "prompt": request.prompt,
            "uncond_prompt": request.uncond,
            "uncond_no_image_prompt": request.uncond_no_image,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stop_token_ids": list(request.stop_token_ids),
            "return_token_ids": True,
            **request.extra,
        }
        sent = {name: value for name, value in body.items() if value is not None}
        answer = self._call("/v1/completions", sent)
        return tuple(answer["choices"][0]["token_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Decode with the server's tokenizer."""
        answer = self._call("/detokenize", {"model": self.model, "tokens": list(tokens)})
        return str(answer["prompt"])

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            call = urllib.request.Request(self.url + path, data, headers)
            with urllib.request.urlopen(call, timeout=self.timeout_s) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (urllib.error.URLError, TimeoutError) as error:
            raise HostError(
                f"no answer from {self.url}: {getattr(error, 'reason', error)}",
                hint="see that the server runs: vllm serve MODEL",
            ) from error
        except ValueError as error:
            raise UsageError(f"{self.url} is no address of a server: {error}") from error


def _refusal(error: urllib.error.HTTPError) -> PatchkitError:
    """Return the server's own message where it gave one."""
    text = error.read().decode("utf-8", "replace")
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = text[:500] or error.reason
    return PatchkitError(f"the server refused the request ({error.code}): {message}")
