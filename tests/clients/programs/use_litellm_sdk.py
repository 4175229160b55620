"""LiteLLM's library: `image_generation` with the openai/ prefix."""

import base64
import json
import os

import litellm

answer = litellm.image_generation(
    model="openai/flux-1-schnell",
    prompt="a red fox",
    size="512x512",
    response_format="b64_json",
    api_base=os.environ["BASE_URL"],
    api_key=os.environ["API_KEY"],
)
print(json.dumps({"png": base64.b64decode(answer.data[0]["b64_json"])[:8].hex()}))
