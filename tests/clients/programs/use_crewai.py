"""CrewAI: its DALL-E tool, whose answer is a link."""

import json
import os

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
os.environ["OPENAI_API_KEY"] = os.environ["API_KEY"]
from crewai_tools import DallETool

told = json.loads(DallETool().run(image_description="a red fox"))
print(json.dumps({"url": told["image_url"]}))
