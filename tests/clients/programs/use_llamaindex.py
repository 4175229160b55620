"""LlamaIndex: its tool for image generation, which knows the models and sizes of DALL-E."""

import json
import os

from llama_index.tools.openai.image_generation.base import OpenAIImageGenerationToolSpec

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
tool = OpenAIImageGenerationToolSpec(api_key=os.environ["API_KEY"])
print(json.dumps({"url": tool.image_generation("a red fox", size="1792x1024")}))
