"""Agno: its tools for DALL-E, whose model names are fixed and which read links."""

import json
import os

from agno.tools.dalle import DalleTools

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
result = DalleTools(api_key=os.environ["API_KEY"]).create_image("a red fox")
print(json.dumps({"url": result.images[0].url if result.images else None, "said": result.content}))
