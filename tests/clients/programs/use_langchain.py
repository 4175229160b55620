"""LangChain: its wrapper of DALL-E, which reads links and nothing else; the query may ask for them."""

import json
import os

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

form = os.environ.get("RESPONSE_FORMAT")
tool = DallEAPIWrapper(
    model="flux-1-schnell",
    api_key=os.environ["API_KEY"],
    base_url=os.environ["BASE_URL"],
    default_query={"response_format": form} if form else None,
)
print(json.dumps({"url": tool.run("a red fox")}))
