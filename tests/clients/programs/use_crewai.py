"""CrewAI: its DALL-E tool, whose answer is a link."""

import json
import os

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
os.environ["OPENAI_API_KEY"] = os.environ["API_KEY"]
from crewai_tools import DallETool

tool = DallETool(model="flux-1-schnell", size="1792x1024")
told = json.loads(tool.run(image_description="a red fox"))
print(json.dumps({"url": told["image_url"]}))
