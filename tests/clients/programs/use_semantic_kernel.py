"""Semantic Kernel: its text-to-image service over a client with another address."""

import asyncio
import base64
import json
import os

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAITextToImage


async def main() -> None:
    client = AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
    service = OpenAITextToImage(ai_model_id="flux-1-schnell", async_client=client)
    [image] = await service.generate_images("a red fox")
    told = (
        {"url": image} if image.startswith("http") else {"png": base64.b64decode(image)[:8].hex()}
    )
    print(json.dumps(told))


asyncio.run(main())
