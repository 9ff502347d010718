"""The proof of this stack: what ``vllm-patchkit smoke`` and ``bench`` run beyond the general part.

A tiny Emu3.5, an oracle written from the description of the model, scenarios that are compared with
it token for token, and a bench of guided images. ``pipeline`` is the front end for users; it shares
vocabulary, templates and sequences with the scenarios.
"""
