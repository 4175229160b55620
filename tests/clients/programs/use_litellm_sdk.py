"""LiteLLM's library: `image_generation` with the openai/ prefix; with a `response_format` where a test asks for one."""

import base64
import json
import os

import litellm

form = os.environ.get("RESPONSE_FORMAT")
answer = litellm.image_generation(
    model="openai/flux-1-schnell",
    prompt="a red fox",
    size="512x512",
    api_base=os.environ["BASE_URL"],
    api_key=os.environ["API_KEY"],
    **({"response_format": form} if form else {}),
)
image = answer.data[0]
png = base64.b64decode(image["b64_json"])[:8].hex() if image["b64_json"] else None
print(json.dumps({"url": image["url"], "png": png}))
