"""Griptape: its driver for OpenAI's images, with a model name that it knows sizes for."""

import json
import os

from griptape.drivers.image_generation.openai import OpenAiImageGenerationDriver

driver = OpenAiImageGenerationDriver(
    model="dall-e-3",
    image_size="1792x1024",
    api_key=os.environ["API_KEY"],
    base_url=os.environ["BASE_URL"],
)
image = driver.run_text_to_image(["a red fox"])
print(json.dumps({"png": image.value[:8].hex()}))
