"""Haystack: its component for images, with one of the sizes that it knows."""

import base64
import json
import os

from haystack.components.generators import OpenAIImageGenerator
from haystack.utils import Secret

component = OpenAIImageGenerator(
    model="flux-1-schnell",
    size="1536x1024",
    api_key=Secret.from_token(os.environ["API_KEY"]),
    api_base_url=os.environ["BASE_URL"],
)
[image] = component.run("a red fox")["images"]
print(json.dumps({"png": base64.b64decode(image)[:8].hex()}))
