"""openai-python: `client.images.generate`, as its README has it."""

import base64
import json
import os

from openai import NOT_GIVEN, OpenAI

client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
answer = client.images.generate(
    model="flux-1-schnell",
    prompt="a red fox",
    size="512x512",
    response_format=os.environ.get("RESPONSE_FORMAT") or NOT_GIVEN,
    quality="standard",
    extra_body=json.loads(os.environ.get("EXTRA_BODY", "{}")),
)
print(json.dumps({"png": base64.b64decode(answer.data[0].b64_json)[:8].hex()}))
