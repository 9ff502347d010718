"""The pipeline against a server that speaks the completions API, on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from patchkit_own_emu3_5.vocabulary import tiny_vocabulary

from vllm_patchkit.errors import HostError, PatchkitError
from vllm_patchkit.pipeline import Pipeline

VOCABULARY = tiny_vocabulary(64)
ROWS = ((1, 2), (3, 4))


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM 0.11.0 does; remembers what it was asked."""

    asked: ClassVar[list[tuple[str, str | None, dict[str, object]]]] = []

    def do_GET(self):
        self.reply(200, {"data": [{"id": "emu"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        if self.path == "/detokenize":
            self.reply(200, {"prompt": "text"})
        elif body.get("guidance_scale") == -1:
            self.reply(400, {"error": {"message": "guidance_scale is -1"}})
        else:
            image = VOCABULARY.image(ROWS)
            self.reply(200, {"choices": [{"token_ids": [7, *image]}]})

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def url():
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_request_has_the_fields_that_the_server_knows(url):
    pipeline = Pipeline.connect(f"{url}/v1", vocabulary=VOCABULARY, api_key="secret")
    result = pipeline.generate("a fox", aspect_ratio=(2, 2), seed=3)
    assert result.text == "text"
    assert result.images[0].codes == ROWS
    path, key, body = Handler.asked[0]
    assert (path, key) == ("/v1/completions", "Bearer secret")
    assert body["model"] == "emu"
    assert body["return_token_ids"] is True
    assert body["uncond_prompt"].startswith("<|extra_203|>You are a helpful assistant. USER:")
    assert (body["height"], body["width"], body["area"]) == (2, 2, 2 * 2 * 256)
    assert (body["guidance_scale"], body["seed"], body["max_tokens"]) == (5.0, 3, 5120)
    assert "uncond_no_image_prompt" not in body
    assert Handler.asked[1][0] == "/detokenize"
    assert Handler.asked[1][2]["tokens"] == [7]


def test_the_servers_refusal_is_quoted(url):
    pipeline = Pipeline.connect(url, vocabulary=VOCABULARY)
    with pytest.raises(PatchkitError, match=r"refused the request \(400\): guidance_scale is -1"):
        pipeline.generate("a fox", aspect_ratio=(2, 2), guidance_scale=-1)


def test_nobody_there_is_said():
    with pytest.raises(HostError, match=r"no answer from http://127\.0\.0\.1:9"):
        Pipeline.connect("http://127.0.0.1:9")
