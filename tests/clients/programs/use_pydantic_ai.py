"""Pydantic AI: its image generator over OpenAI's images API."""

import json
import os

from pydantic_ai.images import ImageGenerator
from pydantic_ai.images.openai import OpenAIImageGenerationModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
generator = ImageGenerator(OpenAIImageGenerationModel("flux-1-schnell", provider=provider))
result = generator.generate_sync("a red fox")
print(json.dumps({"png": result.image.data[:8].hex()}))
