"""openai-python 1.0.0: its `generate` has no `model` yet, so that goes into `extra_body`."""

import base64
import json
import os

from openai import OpenAI

key = os.environ.get("IDEMPOTENCY_KEY")
client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
answer = client.images.generate(
    prompt="a red fox",
    size="512x512",
    response_format="b64_json",
    extra_body={"model": "flux-1-schnell"},
    extra_headers={"Idempotency-Key": key} if key else {},
)
print(json.dumps({"png": base64.b64decode(answer.data[0].b64_json)[:8].hex()}))
