"""LangChain: its wrapper of DALL-E, which reads links and nothing else."""

import json
import os

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

tool = DallEAPIWrapper(
    model="flux-1-schnell", api_key=os.environ["API_KEY"], base_url=os.environ["BASE_URL"]
)
print(json.dumps({"url": tool.run("a red fox")}))
